"""What site.ini puts together."""


def app_factory(global_config, greeting):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return [greeting.encode()]

    return app


def timed(global_config):
    """A filter that says how long the app has taken."""
    import time

    def wrap(app):
        def filtered(environ, start_response):
            begin = time.perf_counter()

            def timed_start(status, headers, exc_info=None):
                took = "%.6f" % (time.perf_counter() - begin)
                return start_response(status, headers + [("X-Took", took)], exc_info)

            return app(environ, timed_start)

        return filtered

    return wrap
