"""Much for clients that read little, and how far it has come: /length says how long it is,
/chunks does not."""

import json
import os

CHUNKS = 1024  # of 64 KiB
CHUNK = b"x" * 65536
states = {path: {"made": 0, "end": ""} for path in ("/length", "/chunks")}


def large(state):
    try:
        for _ in range(CHUNKS):
            state["made"] += 1
            yield CHUNK
        state["end"] = "whole"
    except GeneratorExit:
        state["end"] = "closed"
        raise


def app(environ, start_response):
    headers = [("Content-Type", "text/plain")]
    path = environ["PATH_INFO"]
    if path == "/length":
        headers.append(("Content-Length", str(CHUNKS * len(CHUNK))))
    start_response("200 OK", headers)
    if path in states:
        return large(states[path])
    return [json.dumps({"pid": os.getpid(), "states": states}).encode()]
