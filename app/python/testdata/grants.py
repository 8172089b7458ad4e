"""Responses that the child may write on the connection that comes with the request."""

import resource
import time
from urllib.parse import parse_qs

SIZE = 200000


class Status(str):
    pass


HEADS = {
    "plain": ("200 OK", []),
    "reason": ("299 Quite all right", [("X-Name", "caf\xe9"), ("x-lower", "")]),
    "twice": ("206 Partial Content", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/")]),
    "subclass": (Status("200 OK"), [("X-Name", Status("value"))]),
    "no reason": ("200", []),
    "blank reason": ("200 ", []),
    "close": ("200 OK", [("Connection", "close")]),
    "keep-alive": ("200 OK", [("connection", "keep-alive"), ("Keep-Alive", "timeout=5")]),
    "date": ("200 OK", [("Date", "Thu, 01 Jan 1970 00:00:00 GMT")]),
    "coding": ("200 OK", [("Transfer-Encoding", "chunked")]),
    "upgrade": ("200 OK", [("Upgrade", "h2c"), ("Trailer", "X"), ("TE", "x")]),
    "line break": ("200 OK", [("X-Name", "value\r\nX-Evil: 1")]),
    "bare line feed": ("200 OK", [("X-Name", "value\nX-Evil: 1")]),
    "line break in the status": ("200 OK\r\nX-Evil: 1", []),
    "name": ("200 OK", [("X Name", "value")]),
    "empty name": ("200 OK", [("", "value")]),
    "no latin-1": ("200 OK", [("X-Name", "\u20ac")]),
    "no str": ("200 OK", [("X-Name", 7)]),
    "no pair": ("200 OK", [("X-Name", "a", "b")]),
    "same length": ("200 OK", [("content-length", str(SIZE))]),
    "other length": ("200 OK", [("Content-Length", str(SIZE + 1))]),
}


def app(environ, start_response):
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    time.sleep(float(query.get("before", 0)))
    if "descriptors" in query:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(query["descriptors"]), most))
    size = int(query.get("size", SIZE))
    status, headers = HEADS[query.get("head", "plain")]
    length = int(query.get("length", size))
    start_response(status, headers + [("Content-Length", str(length))])
    if size <= 65536:
        return [b"x" * size]
    return body(size, float(query.get("within", 0)))


def body(size, within):
    chunk = b"x" * 65536
    while size > 0:
        yield chunk[:size]
        size -= len(chunk)
        time.sleep(within)
