"""A client's connection, lent to the child for the body of a response."""

import sys
from _thread import allocate_lock

SLOT = 64 << 10  # bytes of a part of the shared memory, and of a large segment
TURN = 1 << 20  # bytes that a request may write before others have their turn
NOW = 0x40 | 0x4000 if sys.platform == "linux" else 0x80  # MSG_DONTWAIT, MSG_NOSIGNAL
# MSG_MORE as well, of a large chunk before others: what does not fill a segment at its end
# goes with the next chunk, or as soon as the client has acknowledged something, as on a
# connection without TCP_NODELAY. A segment of its own costs an eighth more.
MORE = NOW | 0x8000 if sys.platform == "linux" else NOW


class Gone(Exception):
    """The client has left, or the worker has given the request up."""


class Lent:
    """The client's connection, lent for the body of a response. What it does not take at
    once goes to the worker, who waits for the client."""

    __slots__ = ("sock", "chunked", "head", "left", "sent", "made", "rest", "untold", "held", "lock")

    def __init__(self, sock, chunked, head, left):
        self.sock = sock  # None: it did not come through
        self.chunked = chunked
        self.head = head
        self.left = 1 << 62 if left is None else left  # bytes up to the Content-Length
        self.sent = 0  # bytes that we have written here
        self.made = 0  # bytes that the app has made
        self.rest = TURN  # bytes sent, from which on the others get their turn
        self.untold = b""  # what the worker is still to hear of a response that it has not begun
        self.held = []  # what waits to be sent with what follows
        self.lock = allocate_lock()  # over what takes from it

    def room(self):
        """How many bytes may be held, and pushed."""
        return 0 if self.head or self.sock is None else self.left

    def book(self, size):
        """Take note of size bytes that were held."""
        self.made += size
        self.left -= size

    def push(self, more):
        """Send what is held; more follows. What the connection does not take stays."""
        with self.lock:
            parts = tuple(self.held)
            size = sum(map(len, parts))
            flags = MORE if more and size >= SLOT else NOW
            if not parts:
                return
            try:
                sent = self.sock.send(parts[0], flags) if len(parts) == 1 else self.sock.sendmsg(parts, (), flags)
            except BlockingIOError:
                return
            except OSError:
                raise Gone
            self.sent += sent
            if sent == size:
                del self.held[: len(parts)]  # there may be more by now
                return
            while sent >= len(self.held[0]):
                sent -= len(self.held.pop(0))
            self.held[0] = memoryview(self.held[0])[sent:]

    def take(self):
        """What is held, for somebody else to send."""
        with self.lock:
            parts = b"".join(self.held)
            del self.held[:]
            return parts

    def close(self):
        """Give the connection back. Nothing is pushed any more."""
        if self.sock is not None:
            with self.lock:
                del self.held[:]
                self.sock.close()

    def write(self, chunk, free):
        """Write chunk if the connection is free. Return what is left for the worker."""
        if type(chunk) is list:
            return self.write_list(chunk)
        size = len(chunk)
        self.made += size
        if self.chunked:
            parts = [self.head, b"%x\r\n" % size, chunk, b"\r\n"]
            size += len(parts[0]) + len(parts[1]) + 2
        else:
            if size > self.left:
                chunk = chunk[: self.left]
                size = len(chunk)
            self.left -= size
            parts = None
            if self.head:
                parts = [self.head, chunk]
                size += len(self.head)
        self.head = b""
        sent = 0
        if free and self.sock is not None:
            try:
                sent = self.sock.send(chunk, NOW) if parts is None else self.sock.sendmsg(parts, (), MORE if SLOT <= size < self.left else NOW)
            except BlockingIOError:
                pass
            except OSError:
                raise Gone
            self.sent += sent
        if sent == size:
            return b""
        if parts is not None:
            chunk = b"".join(parts)
        return memoryview(chunk)[sent:]

    def write_list(self, parts):
        """Write all parts, if the body is not framed and they are what it has to be."""
        size = sum(map(len, parts))
        if self.chunked or size != self.left or self.sock is None:
            return self.write(b"".join(parts), True)
        self.made = size
        self.left = 0
        if self.head:
            parts = [self.head] + parts
            size += len(self.head)
            self.head = b""
        try:
            self.sent = self.sock.sendmsg(parts, (), NOW)
        except BlockingIOError:
            pass
        except OSError:
            raise Gone
        if self.sent == size:
            return b""
        return memoryview(b"".join(parts))[self.sent :]
