"""Responses whose chunks come quickly at first."""

import os
import time
from urllib.parse import parse_qs

def app(environ, start_response):
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    size = int(query["size"])
    headers = [("Content-Type", "text/plain")]
    if "length" in query:
        headers.append(("Content-Length", query["length"]))
    start_response("200 OK", headers)
    return body(size, query)


def body(size, query):
    for i in range(int(query["chunks"])):
        yield b"%c" % (65 + i) * size
    if query["then"] == "wait":
        while not os.path.exists(query["file"]):
            time.sleep(0.005)
    elif query["then"] == "spin":
        while not os.path.exists(query["file"]):
            pass
    elif query["then"] == "fail":
        raise ValueError("no more")
    elif query["then"] == "text":
        yield "text"
    yield b"z" * size
