"""The applications that are measured."""

import time


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "12")])
    return [b"hello world\n"]


PAGE = b"x" * 10240


def body10k(environ, start_response):
    """A page of 10 KiB."""
    start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(PAGE)))])
    return [PAGE]


CHUNK = b"x" * 65536


def stream(environ, start_response):
    """1 MiB in chunks of 64 KiB."""
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(16 * 65536))])
    return (CHUNK for _ in range(16))


def upload(environ, start_response):
    """Read the body."""
    size = len(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    body = str(size).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def sleep(environ, start_response):
    """Block for 20 ms, as a query of a database does."""
    time.sleep(0.02)
    return hello(environ, start_response)
