"""One request through a WSGI application (PEP 3333)."""

import io
import os
import stat
import sys
from io import BytesIO, FileIO

from _chaussette.pipe import ABORT, FEW, INLINE, MANY, MUCH, Gone, Left, Lost


HOLD = 1 << 20  # bytes of a response that are held where they are

# How far a response is: nothing was written, parts are held, its head is on its way, no more is sent.
FRESH, HELD, SENT, DONE = range(4)


class Call:
    """The server's side of one request: start_response and write."""

    # Host.run sets all but the last two and the status. They are slots since a default that
    # an attribute has in its class makes each look at it slow.
    __slots__ = (
        "host",
        "id",
        "environ",
        "status",
        "headers",  # None before start_response
        "state",
        "stream",  # None where the response is not in parts
        "held",  # parts of the body, until it is whole or large
        "size",  # bytes held
    )

    def start_response(self, status, headers, exc_info=None):
        if exc_info is not None:
            try:
                if self.state != FRESH:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.headers is not None:
            raise AssertionError("start_response was called twice, the second time without exc_info")
        if type(status) is not str and not isinstance(status, str):
            raise TypeError("status is %s, want str" % type(status).__name__)
        if type(headers) is not list:
            headers = list(headers)
        self.status = status
        self.headers = headers
        return self  # to call it is to write: few do, and a bound method is not free

    def write(self, chunk):
        """Send a part of the body; the head goes before the first one."""
        if self.headers is None:
            raise AssertionError("the body began before start_response was called")
        if not isinstance(chunk, bytes):
            raise TypeError("the body holds %s, want bytes" % type(chunk).__name__)
        pipe = self.host.pipe
        if self.state == DONE:
            if self.stream is None:
                return  # beyond a Content-Length that is already filled
            raise AssertionError("write after the end of the response")
        if self.state != SENT:
            if not chunk:
                return
            if self.host.buffered:
                if self.hold(chunk):
                    return
                chunk = b"".join(self.held)
                self.held = None
            if len(chunk) <= INLINE and declared(self.headers) == len(chunk):
                self.state = DONE
                pipe.finish(self.id)
                pipe.answer((self.id, self.status, self.headers, chunk))
                # The app goes on before it ends, for as long as it likes.
                pipe.flush()
                return
            self.start(len(chunk))
        if chunk:
            pipe.data(self.stream, chunk)

    __call__ = write

    def hold(self, chunk):
        """Keep chunk, so that the whole response is there before a slow client has to take
        it. False: it is too much, and the worker's to keep."""
        if self.state == FRESH:
            self.state = HELD
            self.held = []
            self.size = 0
        self.held.append(chunk)
        self.size += len(chunk)
        return self.size <= HOLD

    def send_held(self):
        """Send the whole response, and leave to the worker what the client does not take at
        once."""
        self.state = SENT
        parts = self.held
        length = declared(self.headers)
        if length is None:
            length = self.size
            self.headers = self.headers + [("Content-Length", str(length))]
        pipe = self.host.pipe
        self.stream = stream = pipe.stream(self.id)
        pipe.begin(stream, self.status, self.headers, length, self.size, True)
        pipe.all(stream, parts)

    def start(self, first):
        self.state = SENT
        pipe = self.host.pipe
        self.stream = pipe.stream(self.id)
        # The client of a buffered response is nobody to wait for: the worker takes the parts.
        # With HEAD there is nothing to write, and to be told so is no refusal.
        lends = not self.host.buffered and self.environ.get("REQUEST_METHOD") != "HEAD"
        pipe.begin(self.stream, self.status, self.headers, declared(self.headers), first, lends)

    def end(self):
        if self.state == DONE:
            return
        pipe = self.host.pipe
        if self.state == HELD and self.size > INLINE:
            self.send_held()
        state, self.state = self.state, DONE
        said = pipe.finish(self.id)
        if state == SENT:
            pipe.over(self.id, said)
        else:
            pipe.answer((self.id, self.status, self.headers, b"".join(self.held) if state == HELD else b""))


class Host:
    """The application, and how its requests are run."""

    def __init__(self, pipe, app, buffered=False):
        self.buffered = buffered
        self.pipe = pipe
        self.app = app

    def run(self, item):
        """Run one request to its end. Never raises."""
        pipe = self.pipe
        if pipe.aborted and item[0] in pipe.aborted:
            self.drop(item)
            return
        environ = pipe.environ(item)
        body = item[7]
        if body is None:
            environ["wsgi.input"] = BytesIO()
        elif body is Lost:
            pipe.lost(item[0])
            return
        else:
            environ["wsgi.input"] = self.input(item[0], body)
        call = Call()
        call.host = self
        call.id = item[0]
        call.environ = environ
        call.headers = call.stream = None
        call.state = FRESH
        try:
            result = self.app(environ, call.start_response)
            headers = call.headers
            if type(result) is list and len(result) == 1 and headers is not None and call.state == FRESH:
                chunk = result[0]
                if type(chunk) is bytes:
                    size = len(chunk)
                    if size <= INLINE:
                        if body is not None:
                            pipe.finish(call.id)
                        call.state = DONE
                        answers = pipe.answers  # what follows is pipe.answer
                        answers.append((call.id, call.status, headers, chunk))
                        if len(answers) >= MANY:
                            pipe.flush()
                        elif size > FEW:
                            pipe.size += size
                            if pipe.size > MUCH:
                                pipe.flush()
                        return
            self.deliver(call, result)
        except BaseException as error:  # SystemExit too: one request never ends the child
            self.fail(call, error)
        finally:
            if body is not None and type(body) is FileIO:
                body.close()

    def input(self, id, body):
        """The wsgi.input of a request that has a body, or a connection to write on."""
        if body is True:
            return BytesIO()
        if type(body) is bytes:
            return BytesIO(body)
        if type(body) is FileIO:
            return io.BufferedReader(body, INLINE)
        return Input(Body(self.pipe, self.pipe.streams[id]), INLINE)

    def drop(self, item):
        """Answer a request whose client left before it was run."""
        self.pipe.finish(item[0])
        if type(item[7]) is FileIO:
            item[7].close()
        self.pipe.answer((item[0], "499 Client Closed Request", [], b""))

    def deliver(self, call, result):
        try:
            kind = type(result)
            if kind is FileWrapper and call.headers is not None and call.state == FRESH and self.send_file(call, result):
                return
            if (kind is list or kind is tuple) and call.headers is not None and call.state == FRESH:
                if self.send_list(call, result):
                    return
            chunks = iter(result)
            for chunk in chunks:
                if self.pipe.grants and call.state < SENT and self.pour_granted(call, chunk, chunks):
                    break
                call.write(chunk)
                if call.stream is not None and call.stream.lent is not None:
                    self.pipe.pour(call.stream, chunks)
                    break
            if call.headers is None:
                raise AssertionError("the application returned without calling start_response")
            call.end()
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def pour_granted(self, call, first, chunks):
        """Write a large response, first and chunks, on the connection that came with the request.
        False: it goes another way."""
        if call.headers is None or type(first) is not bytes or not first:
            return False
        length = declared(call.headers)
        if length is None or length <= INLINE:
            return False
        stream = self.pipe.stream(call.id)
        if not self.pipe.take_grant(stream, call.status, call.headers, length):
            return False
        call.state = SENT
        call.stream = stream
        self.pipe.data(stream, first)
        self.pipe.pour(stream, chunks)
        return True

    def send_list(self, call, chunks):
        """Send a list: its length is known, so the response gets a Content-Length."""
        size = 0
        for chunk in chunks:
            if not isinstance(chunk, bytes):
                raise TypeError("the body holds %s, want bytes" % type(chunk).__name__)
            size += len(chunk)
        if size <= INLINE:
            call.state = DONE
            self.pipe.finish(call.id)
            self.pipe.answer((call.id, call.status, call.headers, b"".join(chunks)))
            return True
        if declared(call.headers) is None:
            call.headers = call.headers + [("Content-Length", str(size))]
        return False

    def send_file(self, call, wrapper):
        """Send a regular file by the worker's sendfile. False: send it as an iterable."""
        try:
            file = plain_file(wrapper.filelike)
            if file is None:
                return False
            fd = file.fileno()
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                return False
            offset = file.tell()
        except (AttributeError, OSError, ValueError):
            return False
        length = max(0, info.st_size - offset)
        size = declared(call.headers)
        if size is not None:
            length = min(length, size)
        call.state = DONE
        self.pipe.finish(call.id)
        self.pipe.file(call.id, call.status, call.headers, fd, offset, length)
        return True

    def fail(self, call, error):
        """Log what went wrong and answer for the app, as far as it still can be."""
        pipe = self.pipe
        environ = call.environ
        where = "%s %s" % (environ.get("REQUEST_METHOD"), environ.get("PATH_INFO"))
        if type(error) is Left:
            pipe.log("info", "%s: %s" % (error, where))
        elif type(error) is not Gone:
            import traceback

            pipe.log("error", "the app failed: " + where, traceback.format_exc())
        if call.state == DONE:
            return
        call.state = DONE
        said = pipe.finish(call.id)
        if call.stream is None or not call.stream.begun:
            pipe.answer((call.id, "500 Internal Server Error", [("Content-Type", "text/plain")], b"Internal Server Error\n"))
        else:
            pipe.frame(ABORT, call.id, said)


def declared(headers):
    """The Content-Length among headers; None without a right one."""
    for name, value in headers:
        if len(name) == 14 and name.lower() == "content-length":
            try:
                return int(value)
            except ValueError:
                return None
    return None


def plain_file(filelike):
    """The file that filelike.read reads, if what it gives is what the file holds. None: it
    may be something else, as of gzip.open, whose fileno is that of the compressed file."""
    read = filelike.read
    read = getattr(read, "__wrapped__", read)  # of tempfile
    file = getattr(read, "__self__", None)  # of a proxy, as Django has them
    raw = file
    if type(raw) is io.TextIOWrapper:
        raw = raw.buffer
    if type(raw) in (io.BufferedReader, io.BufferedRandom):
        raw = raw.raw
    return file if type(raw) is io.FileIO else None


PART = 256 << 10  # bytes that readall asks for at once


class Input(io.BufferedReader):
    """The wsgi.input of a body that is on its way."""

    def read(self, size=-1, /):
        # Memory for all of it is taken when some of it is there: of many that wait, one after
        # another has the same then, which is still in the processor's cache.
        if size != 0 and not self.closed and self.raw.fresh:
            self.raw.begin()
        return super().read(size)


class Body(io.RawIOBase):
    """A request's body as it arrives."""

    def __init__(self, pipe, stream):
        self.pipe = pipe
        self.stream = stream
        self.chunk = b""
        self.slot = -1
        self.at = 0
        self.fresh = True  # nothing was read

    def readable(self):
        return True

    def begin(self):
        """Wait until some of the body, or its end, is there."""
        self.fresh = False
        chunk, self.slot = self.pipe.take(self.stream)
        self.chunk = chunk or b""  # None: receive reads on

    def readinto(self, buffer):
        self.fresh = False
        chunk = self.chunk
        if not chunk:
            chunk, self.slot = self.pipe.take(self.stream)
            if chunk is None:
                return self.pipe.receive(self.stream, buffer)
            self.at = 0
        at = self.at
        count = min(len(buffer), len(chunk) - at)
        buffer[:count] = chunk[at : at + count]
        if at + count < len(chunk):
            self.chunk = chunk
            self.at = at + count
        else:
            self.chunk = b""
            self.pipe.release(self.stream, len(chunk), self.slot)
        return count

    def readall(self):
        parts = []
        while True:
            if not self.chunk:
                self.chunk, self.slot = self.pipe.take(self.stream)
                self.at = 0
            chunk = self.chunk
            if chunk is None:
                part = bytearray(min(self.stream.source.left, PART))
                count = self.pipe.receive(self.stream, part)
                if count < len(part):
                    del part[count:]
                parts.append(part)
                continue
            if not chunk:
                return b"".join(parts)
            parts.append(bytes(chunk[self.at :]))
            self.chunk = b""
            self.pipe.release(self.stream, len(chunk), self.slot)


class FileWrapper:
    """wsgi.file_wrapper: an iterable over a file, which the worker sends by sendfile
    where it is a regular file that the app returns as it is."""

    def __init__(self, filelike, block_size=8192):
        self.filelike = filelike
        self.block_size = block_size
        close = getattr(filelike, "close", None)
        if close is not None:
            self.close = close

    def __iter__(self):
        return self

    def __next__(self):
        data = self.filelike.read(self.block_size)
        if data:
            return data
        raise StopIteration

    def __getitem__(self, index):
        # The old sequence protocol, which wsgiref's wrapper has.
        data = self.filelike.read(self.block_size)
        if data:
            return data
        raise IndexError


class Errors:
    """wsgi.errors and sys.stderr are one; this follows sys.stderr when it is replaced."""

    def write(self, text):
        return sys.stderr.write(text)

    def writelines(self, lines):
        sys.stderr.writelines(lines)

    def flush(self):
        sys.stderr.flush()
