"""Factories for PasteDeploy."""

import logging


def app_factory(global_config, greeting="hello", **settings):
    def app(environ, start_response):
        logging.getLogger("pasted").warning("asked for %s", environ["PATH_INFO"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [greeting.encode()]

    return app


def filter_factory(global_config, mark="!"):
    def wrap(app):
        def filtered(environ, start_response):
            return [b"".join(app(environ, start_response)) + mark.encode()]

        return filtered

    return wrap
