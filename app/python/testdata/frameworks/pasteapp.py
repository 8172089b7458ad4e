"""Factories for PasteDeploy."""

import importlib
import logging
from wsgiref.util import shift_path_info


def app_factory(global_config, greeting="hello", **settings):
    def app(environ, start_response):
        logging.getLogger("pasted").warning("asked for %s", environ["PATH_INFO"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [greeting.encode()]

    return app


def loggers_factory(global_config):
    """How logging is set up, and whether loggers that were there before are silenced."""

    def app(environ, start_response):
        logging.getLogger("named").debug("of named")
        logging.getLogger("tornado.application").error("of tornado")
        levels = [logging.getLevelName(logging.getLogger(name).getEffectiveLevel()) for name in ("named", "other")]
        silenced = ["%s:%s" % (name, logging.getLogger(name).disabled) for name in ("asyncio", "tornado.application")]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [" ".join(levels + silenced).encode()]

    return app


def filter_factory(global_config, mark="!"):
    def wrap(app):
        def filtered(environ, start_response):
            return [b"".join(app(environ, start_response)) + mark.encode()]

        return filtered

    return wrap


def named(global_config, app):
    module, _, attribute = app.partition(":")
    return getattr(importlib.import_module(module), attribute)


def mount(loader, global_config, **names):
    apps = {prefix: loader.get_app(name, global_conf=global_config) for prefix, name in names.items()}

    def app(environ, start_response):
        return apps[shift_path_info(environ)](environ, start_response)

    return app
