"""Where the app is, as a proxy says it."""


def app(environ, start_response):
    body = " ".join([environ["SCRIPT_NAME"], environ["PATH_INFO"]]).encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
