"""Applications that the tests serve."""

import hashlib
import json
import os
import sys
import threading
import time


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "12")])
    return [b"hello world\n"]


def environ(environ, start_response):
    shown = {}
    for key, value in environ.items():
        shown[key] = value if isinstance(value, (str, bool)) else repr(value)
    body = json.dumps(shown).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]


def app(environ, start_response):
    """One function a path."""
    handler = globals()["do_" + environ["PATH_INFO"].split("/")[1]]
    return handler(environ, start_response)


def do_read(environ, start_response):
    """The digest of the body, read as ?how says."""
    how = environ["QUERY_STRING"]
    source = environ["wsgi.input"]
    digest = hashlib.sha256()
    count = 0
    if how == "all":
        chunks = [source.read()]
    elif how == "length":
        chunks = [source.read(int(environ["CONTENT_LENGTH"]))]
    elif how == "lines":
        chunks = source.readlines()
    elif how == "iter":
        chunks = source
    elif how == "line":
        chunks = iter(lambda: source.readline(100), b"")
    elif how == "small":
        chunks = iter(lambda: source.read(1000), b"")
    else:
        chunks = iter(lambda: source.read(65536), b"")
    for chunk in chunks:
        digest.update(chunk)
        count += len(chunk)
    assert source.read() == b"" and source.read(5) == b"" and source.readline() == b""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("%d %s" % (count, digest.hexdigest())).encode()]


def do_stream(environ, start_response):
    """?SIZE bytes, in chunks of 64 KiB; ?SIZE&length declares them."""
    query = environ["QUERY_STRING"].split("&")
    size = int(query[0])
    headers = [("Content-Type", "application/octet-stream")]
    if "length" in query:
        headers.append(("Content-Length", str(size)))
    start_response("200 OK", headers)
    chunk = bytes(range(256)) * 256
    while size > 0:
        yield chunk[:size]
        size -= len(chunk)


def do_host(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    names = "HTTP_HOST", "SERVER_NAME", "REMOTE_ADDR"
    return [" ".join(environ.get(name, "-") for name in names).encode("latin-1")]


def do_list(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"x" * 100000, b"", b"y" * 100000]


class Closing:
    """An iterable whose close() is counted."""

    closed = 0

    def __init__(self, chunks):
        self.chunks = iter(chunks)

    def __iter__(self):
        return self

    def __next__(self):
        chunk = next(self.chunks)
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    def close(self):
        Closing.closed += 1


def do_closing(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Closing([b"one", b"", b"two"])


def do_closingerror(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Closing([b"one", ValueError("in the middle")])


def do_closed(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % Closing.closed]


def do_write(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"written, ")
    write(b"")
    return [b"returned"]


def do_excinfo(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        raise ValueError("changed my mind")
    except ValueError:
        start_response("503 Changed", [("Content-Type", "text/plain")], sys.exc_info())
    return [b"second"]


def do_excinfolate(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"begun")
    try:
        raise ValueError("too late")
    except ValueError:
        start_response("500 Error", [], sys.exc_info())
    return [b"never"]


def do_twice(environ, start_response):
    start_response("200 OK", [])
    start_response("200 OK", [])
    return []


def do_nostart(environ, start_response):
    return [b"no start_response"]


def do_text(environ, start_response):
    start_response("200 OK", [])
    return ["text"]


def do_raise(environ, start_response):
    raise ValueError("caf\xe9 \u20ac")


def do_exit(environ, start_response):
    sys.exit(4)


def do_recurse(environ, start_response):
    return do_recurse(environ, start_response)


def do_status(environ, start_response):
    """?CODE, with the body "body"."""
    code = environ["QUERY_STRING"]
    start_response(code + " Custom Reason", [("X-Code", code)])
    return [b"body"]


def do_lazystatus(environ, start_response):
    start_response(environ["QUERY_STRING"] + " X", [("Content-Length", "7")])
    yield b"no "
    yield b"body"


def do_header(environ, start_response):
    """Headers as ?NAME."""
    headers = {
        "latin": [("X-Name", "caf\xe9")],
        "newline": [("X-Name", "a\r\nX-Evil: 1")],
        "euro": [("X-Name", "\u20ac")],
        "number": [("X-Number", 5)],
        "bytes": [(b"X-Bytes", b"5")],
        "name": [("X Name", "5")],
        "triple": [("X", "1", "2")],
        "cookies": [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")],
        "hop": [("Transfer-Encoding", "chunked"), ("Keep-Alive", "5"), ("X-Kept", "1")],
        "subclass": [(type("S", (str,), {})("X-Name"), type("S", (str,), {})("sub"))],
        "server": [("Server", "mine"), ("Date", "Mon, 01 Jan 2001 00:00:00 GMT")],
    }[environ["QUERY_STRING"]]
    start_response("200 OK", headers)
    return [b"ok"]


def do_length(environ, start_response):
    """?DECLARED&SENT&HOW."""
    declared, sent, how = environ["QUERY_STRING"].split("&")
    start_response("200 OK", [("Content-Length", declared)])
    body = b"x" * int(sent)
    return [body] if how == "whole" else Closing([body[:1], body[1:]])


def do_part(environ, start_response):
    """As much of the body as ?size, and not the rest."""
    part = environ["wsgi.input"].read(int(environ["QUERY_STRING"]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(len(part)).encode()]


def do_partslow(environ, start_response):
    """The beginning of the body, and the end of it after ?seconds."""
    environ["wsgi.input"].read(1000)
    time.sleep(float(environ["QUERY_STRING"]))
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"late"]


def do_file(environ, start_response):
    """The file named by ?OFFSET&LENGTH&PATH, by wsgi.file_wrapper."""
    offset, length, path = environ["QUERY_STRING"].split("&")
    f = open(path, "rb")
    f.seek(int(offset))
    headers = [("Content-Type", "application/octet-stream")]
    if length:
        headers.append(("Content-Length", length))
    start_response("200 OK", headers)
    return environ["wsgi.file_wrapper"](f, 4096)


def do_bytesio(environ, start_response):
    import io

    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](io.BytesIO(b"not a file"), 3)


def do_print(environ, start_response):
    print("printed line")
    environ["wsgi.errors"].write("an error line\n")
    environ["wsgi.errors"].flush()
    sys.stdout.flush()
    sys.stdout.buffer.write(b"\xff\xfe binary\n")
    sys.stdout.flush()
    start_response("200 OK", [])
    return [b"ok"]


def do_close1(environ, start_response):
    os.close(1)
    start_response("200 OK", [])
    return [b"closed"]


def do_sleep(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"slept"]


def do_input(environ, start_response):
    """What the body is read from, and its digest."""
    body = environ["wsgi.input"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("%s %s" % (type(body.raw).__name__, hashlib.sha256(body.read()).hexdigest())).encode()]


def do_descriptors(environ, start_response):
    """Let the process have so many more than it has open, or as many as it may."""
    import resource

    more, most = int(environ["QUERY_STRING"]), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if more >= 0:
        free = os.dup(0)
        os.close(free)
        more += free
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if more < 0 else more, most))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"set"]


def do_kill(environ, start_response):
    os.kill(os.getpid(), 9)


def do_pid(environ, start_response):
    start_response("200 OK", [])
    return [b"%d" % os.getpid()]


def do_fork(environ, start_response):
    """A fork that returns into the server must not answer in its parent's stead."""
    pid = os.fork()
    if pid == 0:
        start_response("200 OK", [])
        return [b"from the fork"]
    os.waitpid(pid, 0)
    start_response("200 OK", [])
    return [b"from the parent"]


def do_thread(environ, start_response):
    result = []
    thread = threading.Thread(target=lambda: result.append(b"from a thread"))
    thread.start()
    thread.join()
    start_response("200 OK", [])
    return result


def do_main(environ, start_response):
    import __main__

    names = sorted(name for name in vars(__main__) if not name.startswith("__"))
    start_response("200 OK", [])
    return [repr((names, __name__, sys.argv)).encode()]


gates = {}
gates_lock = threading.Lock()


def gate(name):
    with gates_lock:
        return gates.setdefault(name, threading.Event())


def do_wait(environ, start_response):
    """Wait until /open is called with the same query; the log says that it waits."""
    print("waiting for", environ["QUERY_STRING"], file=sys.stderr, flush=True)
    gate(environ["QUERY_STRING"]).wait(30)
    start_response("200 OK", [])
    return [b"opened"]


def do_open(environ, start_response):
    gate(environ["QUERY_STRING"]).set()
    start_response("200 OK", [])
    return [b"ok"]


def do_events(environ, start_response):
    """A first chunk at once, the second when /open was called."""
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    yield b"data: 1\n\n"
    gate(environ["QUERY_STRING"]).wait(30)
    yield b"data: 2\n\n"


not_callable = 5
calls = []


def create(name="default", count=0):
    def created(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [("%s %d" % (name, count)).encode()]

    return created


class nested:
    class inner:
        app = staticmethod(hello)


def pre_hook(options):
    print("pre-hook", options.backend, sorted(vars(options)))
    sys.stdout.flush()


def post_hook(options):
    print("post-hook", options.backend)
    sys.stdout.flush()


from wsgiref.validate import validator

validated_app = validator(environ)


def validated(environ, start_response):
    """/hello through wsgiref.validate."""
    return validator(lambda e, s: hello_plain(e, s))(environ, start_response)


def hello_plain(environ, start_response):
    environ["wsgi.input"].read(10)
    environ["wsgi.input"].readline()
    environ["wsgi.input"].readlines()
    list(environ["wsgi.input"])
    environ["wsgi.errors"].flush()
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    if "write" in environ["QUERY_STRING"]:
        write(b"w")
    return [b"valid"]
