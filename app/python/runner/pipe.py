"""The child's end of the pipe: frames, batches, credit and shared memory.

The format is described in the Go package's doc.go. One Pipe serves all modes; what
differs between them is how a request waits (Pipe.wait) and who reads.
"""

import json
import marshal
import mmap
import os
import sys
from _socket import socket as raw_socket
from _socket import SOL_SOCKET, SCM_RIGHTS
from _struct import Struct
from _thread import allocate_lock

VERSION = 1

# Kinds of frames.
BATCH, DATA, LENT, END, ABORT, CREDIT, SHUTDOWN, MODULE, OPTIONS, OPEN = range(1, 11)
START, FILE, LOG, HELLO, READY, FAILED = range(16, 22)

WINDOW = 256 << 10  # bytes of a body on their way
SLOT = 64 << 10  # bytes of a part of the shared memory
INLINE = 64 << 10  # bodies up to this travel inside the answer
SMALL = 8 << 10  # chunks up to this travel in the frame
READ = 64 << 10

loads = marshal.loads
dumps = marshal.dumps
header = Struct("<II")
pair = Struct("<II")

# What both ends decode at start, since Python does not promise the marshal format.
PROOF = [
    (1, {"REQUEST_METHOD": "GET", "PATH_INFO": "/caf\xe9"}, None),
    (2, {"HTTP_HOST": "localhost", "QUERY_STRING": "x" * 300}, b"\x00\xff"),
    (70000, {"HTTP_HOST": "localhost"}, -1),
]


def proof_answers():
    headers = [("Content-Type", "text/plain"), ("X-Name", "caf\xe9")]
    return [
        (1, "200 OK", headers, b"\x00\xff"),
        (70000, "404 Not Found", list(headers), b""),
        (2, "200 OK", headers, b"x" * 300),
    ]


class Gone(Exception):
    """The client has left, or the worker has given the request up."""


class Stream:
    """The state of a request whose body, or whose response, comes in parts."""

    __slots__ = ("id", "window", "chunks", "ended", "gone", "owed", "slots", "waiter", "done", "asked", "version")

    def __init__(self, id):
        self.id = id
        self.window = WINDOW
        self.chunks = []  # of the request's body: bytes, or (slot, length)
        self.ended = False
        self.gone = False
        self.owed = 0  # bytes read by the app and not credited yet
        self.waiter = None  # what the mode wakes
        self.done = False
        self.version = 0  # counts what happened, so that no waiter misses it
        self.slots = b""  # read by the app and not given back yet
        self.asked = False  # the worker sends nothing before the app reads


class Pipe:
    def __init__(self, sock, arena, request_slots, response_slots):
        self.sock = sock
        self.send = sock.send
        self.lock = allocate_lock()  # over a write
        self.tail = b""
        self.answers = []
        self.size = 0
        self.streams = {}
        self.aborted = set()
        self.stopping = False
        self.arena = arena
        self.view = memoryview(arena) if arena is not None else None
        self.request_slots = request_slots
        self.free = list(range(request_slots + response_slots - 1, request_slots - 1, -1))
        self.wait = None  # wait(stream, seen): until its version is not seen
        self.wake = None  # wake(stream)

    # Reading.

    def feed(self, data):
        """Take what was read and return the list of new requests, or None."""
        if self.tail:
            data = self.tail + data
        items = None
        pos = 0
        size = len(data)
        while size - pos >= 8:
            length, head = header.unpack_from(data, pos)
            start = pos + 8
            pos = start + length
            if pos > size:
                pos = start - 8
                break
            kind = head >> 24
            if kind == BATCH:
                new = loads(data[start:pos])
                if self.aborted:
                    # An abort that crossed an answer meant the request before.
                    self.aborted.difference_update([item[0] for item in new])
                items = new if items is None else items + new
            elif kind == OPEN:
                item = loads(data[start:pos])
                self.aborted.discard(item[0])
                self.streams[item[0]] = Stream(item[0])
                items = [item] if items is None else items + [item]
            else:
                self.control(kind, head & 0xFFFFFF, data, start, pos)
        self.tail = data[pos:] if pos < size else b""
        return items

    def control(self, kind, id, data, start, end):
        stream = self.streams.get(id)
        if kind == CREDIT:
            count = header.unpack_from(data, start)[0]
            for at in range(start + 8, end, 4):
                self.free.append(int.from_bytes(data[at : at + 4], "little"))
            if stream is not None:
                stream.window += count
        elif kind == DATA:
            if stream is not None:
                stream.chunks.append(data[start:end])
        elif kind == LENT:
            lent = pair.unpack_from(data, start)
            if stream is not None:
                stream.chunks.append(lent)
            else:
                self.frame(CREDIT, id, pair.pack(0, 0) + lent[0].to_bytes(4, "little"))
        elif kind == END:
            if stream is not None:
                stream.ended = True
        elif kind == ABORT:
            if stream is not None:
                stream.gone = True
            else:
                self.aborted.add(id)
        elif kind == SHUTDOWN:
            self.stopping = True
        else:
            self.log("error", "the worker sent a frame of unknown kind %d" % kind)
        if stream is not None:
            stream.version += 1
            if stream.waiter is not None:
                self.wake(stream)

    # Writing.

    def write(self, data):
        """Write all of data; holds self.lock so that frames stay whole."""
        with self.lock:
            try:
                sent = self.send(data)
                while sent < len(data):
                    data = memoryview(data)[sent:]
                    sent = self.send(data)
            except OSError:
                os._exit(0)  # the worker is gone

    def frame(self, kind, id, body=b""):
        self.write(header.pack(len(body), kind << 24 | id) + body)

    def answer(self, answer):
        """Queue a whole response: (id, status, headers, body)."""
        answers = self.answers
        answers.append(answer)
        self.size += len(answer[3])
        if len(answers) >= 32 or self.size > 32768:
            self.flush()

    def flush(self):
        answers = self.answers
        if not answers:
            return
        # Another thread may have appended in between: swapping the lists first
        # means that it appends to one of the two, and neither is lost.
        self.answers = []
        self.size = 0
        try:
            body = dumps(answers, 4)
        except ValueError:
            body = dumps([plain(answer) for answer in answers], 4)
        self.write(header.pack(len(body), BATCH << 24) + body)

    def stream(self, id):
        """The stream of a request, made where the response needs one."""
        stream = self.streams.get(id)
        if stream is None:
            stream = Stream(id)
            if id in self.aborted:
                stream.gone = True
            self.streams[id] = stream
        return stream

    def data(self, stream, chunk):
        """Send a chunk of a response's body, as fast as the client takes it."""
        view = None
        size = len(chunk)
        pos = 0
        while pos < size:
            while True:
                seen = stream.version
                if stream.window > 0 or stream.gone:
                    break
                self.wait(stream, seen)
            if stream.gone:
                raise Gone
            count = min(size - pos, SLOT)
            if count < size:
                if view is None:
                    view = memoryview(chunk)
                part = view[pos : pos + count]
            else:
                part = chunk
            slot = -1
            if count > SMALL:
                try:
                    slot = self.free.pop()
                except IndexError:
                    pass
            stream.window -= count
            if slot < 0:
                self.write(b"".join((header.pack(count, DATA << 24 | stream.id), part)))
            else:
                at = slot * SLOT
                self.arena[at : at + count] = part
                self.write(header.pack(8, LENT << 24 | stream.id) + pair.pack(slot, count))
            pos += count

    def file(self, id, status, headers, fd, offset, length):
        """Send a response whose body is a part of an open file."""
        head = dumps([plain_head(status, headers)], 4)
        body = offset.to_bytes(8, "little") + length.to_bytes(8, "little") + head
        message = header.pack(len(body), FILE << 24 | id) + body
        rights = [(SOL_SOCKET, SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))]
        with self.lock:
            try:
                sent = self.sock.sendmsg([message], rights)
                while sent < len(message):
                    sent += self.send(message[sent:])
            except OSError:
                os._exit(0)

    def take(self, stream):
        """The next chunk of a request's body, and how much of it is in shared memory: a
        memoryview to be given back by release, or bytes; b"" at the body's end."""
        chunks = stream.chunks
        while True:
            seen = stream.version
            if chunks:
                break
            if stream.ended:
                return b"", -1
            if stream.gone:
                raise ConnectionResetError("the client left before its request's body was complete")
            if not stream.asked:
                stream.asked = True
                self.frame(CREDIT, stream.id, pair.pack(WINDOW, 0))
            else:
                self.credit(stream)
            self.wait(stream, seen)
        chunk = chunks.pop(0)
        if type(chunk) is not tuple:
            return chunk, -1
        slot, count = chunk
        at = slot * SLOT
        return self.view[at : at + count], slot

    def release(self, stream, size, slot):
        """Take note that a chunk was consumed, and tell the worker now and then."""
        stream.owed += size
        if slot >= 0:
            stream.slots += slot.to_bytes(4, "little")
        if stream.owed >= WINDOW // 2:
            self.credit(stream)

    def credit(self, stream):
        """Tell the worker what was consumed, so that it sends more."""
        if not stream.done and (stream.owed or stream.slots):
            body = pair.pack(stream.owed, 0) + stream.slots
            stream.owed = 0
            stream.slots = b""
            self.frame(CREDIT, stream.id, body)

    def finish(self, id):
        """Forget a request. Called before its last frame is sent."""
        stream = self.streams.pop(id, None)
        if stream is not None:
            for chunk in stream.chunks:
                if type(chunk) is tuple:
                    stream.slots += chunk[0].to_bytes(4, "little")
            del stream.chunks[:]
            self.credit(stream)
            stream.done = True
        if self.aborted:
            self.aborted.discard(id)

    def log(self, level, message, detail=None):
        record = {"level": level, "message": message}
        if detail:
            record["detail"] = detail
        self.frame(LOG, 0, json.dumps(record).encode())


def plain_head(status, headers):
    """Status and headers in marshal's own types: apps pass subclasses of str."""
    return (text(status), [(text(name), text(value)) for name, value in headers])


def plain(answer):
    id, status, headers, body = answer
    try:
        return (id,) + plain_head(status, headers) + (bytes(body),)
    except (TypeError, ValueError):
        # The worker turns None into a 500 and a line in the log.
        return (id, None, [], b"")


def text(value):
    if not isinstance(value, str):
        raise TypeError("status and headers are of type str")
    return str.__str__(value)


def open_pipe(settings):
    """The Pipe on the descriptors that the worker passed."""
    for fd in settings["fds"]:
        os.set_inheritable(fd, False)
    sock = raw_socket(fileno=3)
    sock.setblocking(True)
    arena = None
    slots = settings["request_slots"], settings["response_slots"]
    if settings["arena"] >= 0:
        arena = mmap.mmap(settings["arena"], sum(slots) * SLOT)
    else:
        slots = 0, 0
    return Pipe(sock, arena, *slots)
