"""What PEP 3333 says, a path a rule; the query chooses the case."""

import gzip
import io
import os
import sys
import tempfile

PLAIN = [("Content-Type", "text/plain")]


def app(environ, start_response):
    name = environ["PATH_INFO"].split("/")[1]
    return globals()["do_" + name](environ, start_response, environ["QUERY_STRING"])


def answer(start_response, value):
    body = value if isinstance(value, bytes) else repr(value).encode()
    start_response("200 OK", PLAIN + [("Content-Length", str(len(body)))])
    return [body]


def do_input(environ, start_response, query):
    """Calls of wsgi.input, as read:3,readline."""
    source = environ["wsgi.input"]
    results = []
    for step in query.split(","):
        method, _, argument = step.partition(":")
        arguments = [None if argument == "None" else int(argument)] if argument else []
        if method == "iter":
            results.append(list(source))
        else:
            results.append(getattr(source, method)(*arguments))
    return answer(start_response, results)


def do_native(environ, start_response, query):
    """environ is a dict, and all of its strings hold one byte a character."""
    for key, value in environ.items():
        assert type(key) is str, key
        if "." not in key:
            assert type(value) is str, key
        if type(value) is str:
            value.encode("latin-1")
    names = "REQUEST_METHOD SCRIPT_NAME PATH_INFO QUERY_STRING SERVER_NAME SERVER_PORT SERVER_PROTOCOL"
    missing = [name for name in names.split() if name not in environ]
    return answer(start_response, (type(environ) is dict, missing))


def do_place(environ, start_response, query):
    return answer(start_response, (environ["SCRIPT_NAME"], environ["PATH_INFO"]))


def do_address(environ, start_response, query):
    return answer(start_response, (environ["SERVER_NAME"], environ["SERVER_PORT"], environ["REMOTE_ADDR"]))


def do_errors(environ, start_response, query):
    errors = environ["wsgi.errors"]
    errors.write("written caf\xe9 \u20ac\n")
    errors.writelines(["one line\n", "another\n"])
    errors.flush()
    print("surrogate \udcff", file=errors)
    sys.stdout.buffer.write(b"binary \xff\x00\xfe\n")
    sys.stdout.flush()
    os.write(1, b"past sys.stdout\n")
    return answer(start_response, "ok")


closed = []


class Closing:
    """An iterable that says when it is closed."""

    def __init__(self, name, *chunks):
        self.name = name
        self.chunks = list(chunks)

    def __iter__(self):
        return self

    def __next__(self):
        if not self.chunks:
            raise StopIteration
        chunk = self.chunks.pop(0)
        if isinstance(chunk, BaseException):
            raise chunk
        return chunk

    def close(self):
        closed.append(self.name)
        if self.name == "inclose":
            raise ValueError("in close")


def do_closed(environ, start_response, query):
    names = " ".join(closed)
    del closed[:]
    return answer(start_response, names)


def do_close(environ, start_response, query):
    if query != "nostart":
        status = {"204": "204 No Content", "304": "304 Not Modified"}.get(query, "200 OK")
        length = {"long": "1", "short": "9", "largeshort": "5000000"}.get(query)
        headers = PLAIN + ([("Content-Length", length)] if length else [])
        if query == "badhead":
            headers.append(("X-Bad", "a\nb"))
        start_response(status, headers)
    chunks = {
        "first": [ValueError("at once")],
        "middle": [b"a", ValueError("later \u20ac \udcff")],
        "exit": [b"a", SystemExit("bye \u20ac")],
        "interrupt": [b"a", KeyboardInterrupt()],
        "text": [b"a", "text"],
        "none": [None],
        "empty": [],
        "empties": [b"", b""],
        "large": [b"x" * 70000] * 40 + [ValueError("late")],
        "largeshort": [b"x" * 70000] * 40,
        "endless": [b"x" * 70000] * 10000,
    }.get(query, [b"a", b"b"])
    return Closing(query, *chunks)


def do_start(environ, start_response, query):
    if query == "again":
        start_response("200 OK", PLAIN + [("X-First", "1")])
        try:
            raise ValueError("changed")
        except ValueError:
            start_response("503 Changed", PLAIN + [("X-Second", "2")], sys.exc_info())
        return [b"second"]
    if query == "againempty":
        start_response("200 OK", PLAIN)(b"")
        try:
            raise ValueError("changed")
        except ValueError:
            start_response("503 Changed", PLAIN, sys.exc_info())
        return [b"second"]
    if query == "againsent":
        start_response("200 OK", PLAIN)(b"sent")
        try:
            raise ValueError("too late")
        except ValueError:
            start_response("503 Changed", PLAIN, sys.exc_info())
        return [b"never"]
    if query == "twice":
        start_response("200 OK", PLAIN)
        start_response("200 OK", PLAIN)
        return [b"never"]
    if query == "never":
        return []
    if query == "late":

        def later():
            start_response("200 OK", PLAIN)
            yield b"late"

        return later()
    if query == "write":
        write = start_response("200 OK", PLAIN)
        write(b"a")
        write(b"b")
        return [b"c"]
    if query == "writelength":
        write = start_response("200 OK", PLAIN + [("Content-Length", "3")])
        write(b"a")
        write(b"b")
        return [b"c"]
    if query == "writetext":
        start_response("200 OK", PLAIN)("a")
        return [b"never"]
    if query == "writewhile":
        write = start_response("200 OK", PLAIN)

        def both():
            write(b"written, ")
            yield b"yielded"

        return both()
    result = {
        "none": None,
        "str": "text",
        "bytes": b"bytes",
        "bytearray": [bytearray(b"x")],
        "tuple": (b"a", b"b"),
        "subclass": [type("B", (bytes,), {})(b"sub")],
    }[query]
    start_response("200 OK", PLAIN)
    return result


def do_status(environ, start_response, query):
    from urllib.parse import unquote

    start_response(unquote(query), PLAIN)
    return [b"body"]


def do_header(environ, start_response, query):
    headers = {
        "str": ["XY"],
        "bytes": [b"XY"],
        "set": [{"X", "Y"}],
        "dict": [{"X": "Y"}],
        "none": [None],
        "number": [7],
        "one": [("X",)],
        "int": [("X", 1)],
        "nothing": [("X", None)],
        "names": [(b"X", "a")],
        "lf": [("X", "a\nb")],
        "cr": [("X", "a\rb")],
        "nul": [("X", "a\0b")],
        "euro": [("X", "\u20ac")],
        "name": [("X Y", "a")],
        "noname": [("", "a")],
        "colon": [("X:", "a")],
        "namelf": [("X\nY", "a")],
        "list": [["X", "a"]],
        "empty": [("X", "")],
        "latin": [("X", "\xe9")],
        "twice": [("X", "1"), ("x", "2")],
        "lengths": [("Content-Length", "4"), ("content-length", "5")],
        "lengthtwice": [("Content-Length", "4"), ("content-length", "4")],
        "hop": [("X", "kept"), ("Transfer-Encoding", "chunked"), ("Connection", "keep-alive"), ("Upgrade", "x")],
    }[query]
    start_response("200 OK", headers)
    return [b"body"]


class Reader:
    """A file for wsgi.file_wrapper with no more than it has to have."""

    def __init__(self, *chunks):
        self.chunks = list(chunks)

    def read(self, size):
        chunk = self.chunks.pop(0) if self.chunks else b""
        if isinstance(chunk, Exception):
            raise chunk
        return chunk


class Closed(io.BytesIO):
    def close(self):
        closed.append("wrapped")
        io.BytesIO.close(self)


def do_wrapper(environ, start_response, query):
    wrapper = environ["wsgi.file_wrapper"]
    start_response("200 OK", PLAIN)
    if query == "bytes":
        return wrapper(io.BytesIO(b"0123456789"), 3)
    if query == "closes":
        return wrapper(Closed(b"closed"))
    if query == "reader":
        return wrapper(Reader(b"a", b"b"))
    if query == "fails":
        return wrapper(Reader(b"first", ValueError("read failed")))
    if query == "pipe":
        reading, writing = os.pipe()
        os.write(writing, b"from a pipe")
        os.close(writing)
        return wrapper(os.fdopen(reading, "rb"))
    if query == "middleware":
        return [chunk for chunk in wrapper(io.BytesIO(b"copied"))]
    file = tempfile.NamedTemporaryFile()
    if query == "gzip":
        with gzip.open(file.name, "wb") as out:
            out.write(b"what was compressed")
        return wrapper(gzip.open(file.name, "rb"))
    if query == "bufferedgzip":
        with gzip.open(file.name, "wb") as out:
            out.write(b"what was compressed")
        return wrapper(io.BufferedReader(gzip.open(file.name, "rb")))
    file.write(b"skipped, sent")
    file.flush()
    file.seek(9)
    if query == "temporary":
        return wrapper(file)
    unbuffered = open(file.name, "rb", buffering=0)
    unbuffered.seek(9)
    return wrapper(unbuffered)


def do_fail(environ, start_response, query):
    if query == "exit":
        sys.exit("bye \u20ac")
    if query == "interrupt":
        raise KeyboardInterrupt()
    raise ValueError("caf\xe9 \u20ac \udcff")
