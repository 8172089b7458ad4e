"""Mode tornado: on the Tornado loop, a WSGI callable or a tornado.web.Application."""

import os
from io import FileIO

from _chaussette import threads
from _chaussette.pipe import CREDIT, READ, START, WINDOW, Gone, Lost, dumps, pair, plain_head

MSG_DONTWAIT = 0x40 if os.uname().sysname == "Linux" else 0x80


def prepare(host, app, settings):
    from tornado.httputil import HTTPServerConnectionDelegate
    from tornado.ioloop import IOLoop

    loop = IOLoop.current()
    if isinstance(app, HTTPServerConnectionDelegate):
        return Loop(host, loop, Native(host, app)).serve
    return Loop(host, loop, Blocking(host)).serve


class Blocking:
    """Runs a WSGI callable on the loop. It blocks, as the callable may: asyncio is not
    running as far as it can see, else Django refuses to touch its database."""

    def __init__(self, host):
        from asyncio.events import _get_running_loop, _set_running_loop

        self.host = host
        self.running = _get_running_loop
        self.set_running = _set_running_loop

    def run(self, item):
        loop = self.running()
        self.set_running(None)
        try:
            self.host.run(item)
        finally:
            self.set_running(loop)


class Loop:
    """Reads the pipe on the Tornado loop. A WSGI callable runs there to its end, with
    the loop's own callbacks between two requests."""

    def __init__(self, host, loop, runner):
        self.pipe = host.pipe
        self.loop = loop
        self.runner = runner
        self.pending = []
        self.pipe.wait = self.wait
        self.pipe.wake = lambda stream: stream.waiter()
        if type(runner) is Blocking:
            self.pipe.readable = threads.readable

    def serve(self):
        self.loop.add_handler(3, self.readable, self.loop.READ)
        self.loop.start()

    def readable(self, fd, events):
        self.read()
        while self.pending:
            pending, self.pending = self.pending, []
            for item in pending:
                self.runner.run(item)
        if self.pipe.answers or self.pipe.early:
            self.pipe.flush()
        if self.pipe.stopping:
            self.loop.stop()

    def read(self):
        try:
            data = self.pipe.sock.recv(READ)
        except OSError:
            data = b""
        if not data:
            os._exit(0)  # the worker is gone
        items = self.pipe.feed(data)
        if items is not None:
            self.pending.extend(items)

    def wait(self, stream, seen):
        # Only a WSGI callable waits, inside of the loop: it reads on its own.
        if self.pipe.answers or self.pipe.early:
            self.pipe.flush()
        self.read()


class Native:
    """Runs a tornado.web.Application: requests come as Tornado's own server gives them."""

    def __init__(self, host, app):
        self.host = host
        self.pipe = host.pipe
        self.app = app

    def run(self, item):
        from tornado.httputil import HTTPHeaders, RequestStartLine

        id = item[0]
        body = item[7]
        if body is Lost:
            self.pipe.lost(id)
            return
        environ = self.pipe.environ(item)
        target = environ.get("REQUEST_URI") or environ["PATH_INFO"]
        headers = HTTPHeaders()
        for key, value in environ.items():
            if key.startswith("HTTP_"):
                headers.add(key[5:].replace("_", "-").title(), value)
            elif key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                headers.add(key.replace("_", "-").title(), value)
        connection = Connection(self.pipe, id, environ)
        delegate = self.app.start_request(Server(), connection)
        try:
            delegate.headers_received(RequestStartLine(environ["REQUEST_METHOD"], target, environ["SERVER_PROTOCOL"]), headers)
            if type(body) is FileIO:
                with body:
                    for chunk in iter(lambda: body.read(READ), b""):
                        delegate.data_received(chunk)
                delegate.finish()
            elif type(body) is not int:
                if body:
                    delegate.data_received(body)
                delegate.finish()
            else:
                connection.receive(delegate)
        except Exception:
            import traceback

            self.pipe.log("error", "the app failed: " + target, traceback.format_exc())
            connection.abort()


class Server:
    """What start_request is given as the connection of a request."""


class Context:
    def __init__(self, environ):
        self.address = None
        self.remote_ip = environ.get("REMOTE_ADDR") or "0.0.0.0"
        self.protocol = environ.get("wsgi.url_scheme", "http")
        self.address_family = None
        self.trusted_downstream = []


class Connection:
    """A tornado.httputil.HTTPConnection on the pipe."""

    def __init__(self, pipe, id, environ):
        self.pipe = pipe
        self.id = id
        self.context = Context(environ)
        self.no_keep_alive = False
        self.head = None
        self.body = []
        self.stream = None
        self.done = False
        self.on_close = None

    def set_close_callback(self, callback):
        self.on_close = callback

    def receive(self, delegate):
        from asyncio import ensure_future, get_event_loop

        stream = self.pipe.streams[self.id]
        event_loop = get_event_loop()

        async def pump():
            while True:
                while not stream.chunks and not stream.ended and not stream.gone:
                    if not stream.asked:
                        stream.asked = True
                        self.pipe.frame(CREDIT, self.id, pair.pack(WINDOW, 0))
                    else:
                        self.pipe.credit(stream)
                    arrived = event_loop.create_future()
                    stream.waiter = lambda: arrived.done() or arrived.set_result(None)
                    await arrived
                    stream.waiter = None
                if stream.gone or self.done:
                    delegate.on_connection_close()
                    self.abort()
                    return
                chunk, slot = self.pipe.take(stream)
                if not chunk:
                    delegate.finish()
                    return
                future = delegate.data_received(bytes(chunk))
                self.pipe.release(stream, len(chunk), slot)
                if future is not None:
                    await future

        ensure_future(pump())

    def write_headers(self, start_line, headers, chunk=None):
        self.head = "%d %s" % (start_line.code, start_line.reason), list(headers.get_all())
        return self.write(chunk) if chunk else self.written()

    def write(self, chunk):
        self.body.append(bytes(chunk))
        return self.written()

    def written(self):
        """Called at the end of each write: a flush. What finish follows at once stays whole."""
        from tornado.ioloop import IOLoop
        from tornado.concurrent import Future

        future = Future()
        if self.done:
            future.set_result(None)
            return future

        def later():
            try:
                if not self.done:
                    self.send()
            except Gone:
                if self.on_close is not None:
                    callback, self.on_close = self.on_close, None
                    callback()
            finally:
                if not future.done():
                    future.set_result(None)

        IOLoop.current().add_callback(later)
        return future

    def send(self):
        if self.stream is None:
            self.stream = self.pipe.stream(self.id)
            self.pipe.frame(START, self.id, dumps([plain_head(*self.head)], 4))
        body, self.body = self.body, []
        for chunk in body:
            self.pipe.data(self.stream, chunk)

    def finish(self):
        from _chaussette.pipe import END

        if self.done:
            return
        if self.stream is None:
            self.done = True
            self.pipe.finish(self.id)
            self.pipe.answer((self.id,) + self.head + (b"".join(self.body),))
            self.pipe.flush()
            return
        try:
            self.send()
        except Gone:
            pass
        self.done = True
        self.pipe.finish(self.id)
        self.pipe.frame(END, self.id)

    def abort(self):
        from _chaussette.pipe import ABORT

        if not self.done:
            self.done = True
            self.pipe.finish(self.id)
            if self.stream is None:
                self.pipe.answer((self.id, "500 Internal Server Error", [], b""))
                self.pipe.flush()
            else:
                self.pipe.frame(ABORT, self.id)
