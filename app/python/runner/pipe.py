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
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET, getdefaulttimeout
from _struct import Struct
from _thread import allocate_lock
from io import FileIO
from time import perf_counter

from _chaussette import heads
from _chaussette.bursts import HELD, Bursts
from _chaussette.lent import SLOT, TURN, Gone, Lent

VERSION = 6

# Kinds of frames.
BATCH, DATA, LENT, END, ABORT, CREDIT, SHUTDOWN, MODULE, OPTIONS, OPEN = range(1, 11)
LEND, LEND_BODY, KEPT, GRANTS, USUAL = 11, 12, 13, 14, 15
START, FILE, LOG, HELLO, READY, FAILED, ASK, TAKEN, BEGUN = range(16, 25)

WINDOW = 256 << 10  # bytes of a body on their way
INLINE = 64 << 10  # bodies up to this travel inside the answer
SMALL = 8 << 10  # chunks up to this travel in the frame
READ = 64 << 10
MANY = 32  # answers that go together at most
MUCH = 32 << 10  # bytes of bodies in them
FEW = MUCH // MANY  # bytes of a body that need not be counted
PARTS = 64  # that one write takes
POURED = 2 << 20  # bytes of responses whose ends go together

loads = marshal.loads
dumps = marshal.dumps
header = Struct("<II")
pair = Struct("<II")
long_pair = Struct("<QQ")
body_terms = Struct("<IIQ")
grant_terms = Struct("<IQ")

CLOEXEC = 0x40000000 if sys.platform == "linux" else 0  # MSG_CMSG_CLOEXEC

# What both ends decode at start, since Python does not promise the marshal format.
PROOF = [
    (1, "/caf\xe9", "/caf%C3%A9", "", None, None, {"REQUEST_METHOD": "PUT"}, None),
    (2, "", "", "", None, "localhost", {"QUERY_STRING": "x" * 300}, b"\x00\xff"),
    (70000, "", "", "127.0.0.1", "8080", None, None, -1),
]


def proof_answers():
    headers = [("Content-Type", "text/plain"), ("X-Name", "caf\xe9")]
    return [
        (1, "200 OK", headers, b"\x00\xff"),
        (70000, "404 Not Found", list(headers), b""),
        (2, "200 OK", headers, b"x" * 300),
    ]


class Left(ConnectionResetError):
    """The client has left before its request was complete."""


class Lost:
    """In place of a body whose descriptor did not come through."""


class Stream:
    """The state of a request whose body, or whose response, comes in parts."""

    __slots__ = ("id", "window", "chunks", "ended", "gone", "owed", "slots", "waiter", "done", "asked", "version", "lending", "lent", "source", "begun")

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
        self.lending = False  # the worker has not said yet whether it lends the connection
        self.lent = None  # the connection, to write the response's body on
        self.source = None  # the connection, to read the request's body from
        self.begun = False  # the response's head is on its way


class Source:
    """The client's connection, lent to read a request's body from."""

    __slots__ = ("sock", "left", "last", "patience", "taken")

    def __init__(self, sock, left, last, patience):
        self.sock = sock
        self.left = left  # bytes that may be read
        self.last = last  # the body ends with them
        self.patience = patience  # seconds without a byte; None has no bound
        self.taken = 0


class Pipe:
    def __init__(self, sock, lends, arena, request_slots, response_slots, marks):
        self.sock = sock
        self.send = sock.send
        self.lock = allocate_lock()  # over a write
        self.flushing = allocate_lock()  # who has it sends all answers
        self.tail = b""
        self.answers = []
        self.size = 0
        self.spread = False  # the app is slow, and the threads wake one another
        self.streams = {}
        self.aborted = set()
        self.stopping = False
        self.arena = arena
        self.view = memoryview(arena) if arena is not None else None
        self.request_slots = request_slots
        self.free = list(range(request_slots + response_slots - 1, request_slots - 1, -1))
        # By id: the status of a response that was begun on the connection that came with the
        # request. The worker looks at it when we have crashed.
        self.marks = self.view[(request_slots + response_slots) * SLOT :].cast("H") if marks else None
        self.poured = 0  # bytes of responses whose ends wait for others
        self.bursts = Bursts()
        self.wait = None  # wait(stream, seen): until its version is not seen
        self.wake = None  # wake(stream)
        self.readable = None  # readable(fd, seconds): until it is; False when it is not
        self.pause = None  # pause(): lets others run
        self.early = b""  # frames that go with the next ones
        self.lends = lends
        self.template = {}  # what all environs have
        self.usual = {}  # and what one has where the worker says nothing else
        self.grants = {}  # by id: connections that came with requests
        self.refused = [0, 0]  # how often in a row the worker has kept the connection: with a length, chunked

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
            if kind == BATCH or kind == GRANTS:
                new = loads(data[start:pos])
                if kind == GRANTS:
                    for item in new:
                        if item[7] is True:
                            self.grants[item[0]] = self.borrow()
                if self.aborted:
                    # An abort that crossed an answer meant the request before.
                    self.aborted.difference_update([item[0] for item in new])
                items = new if items is None else items + new
            elif kind == OPEN:
                item = loads(data[start:pos])[0]
                self.aborted.discard(item[0])
                self.streams[item[0]] = Stream(item[0])
                items = [item] if items is None else items + [item]
            elif kind == KEPT:
                item = loads(data[start:pos])[0]
                self.aborted.discard(item[0])
                item = item[:7] + (self.kept(),)
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
        elif kind == LEND:
            granted = data[start] & 1
            sock = self.borrow() if granted else None
            if stream is not None and stream.lending:
                if granted:
                    stream.lent = Lent(sock, data[start] & 2 != 0, data[start + 4 : end], stream.lent)
                else:
                    stream.lent = None
                stream.lending = False
            elif sock is not None:
                sock.close()
        elif kind == LEND_BODY:
            flags, patience, limit = body_terms.unpack_from(data, start)
            sock = self.borrow()
            if stream is not None:
                if end > start + 16:
                    stream.chunks.append(data[start + 16 : end])
                if sock is not None:
                    stream.source = Source(sock, limit, flags & 4 != 0, patience / 1000 if patience else None)
                else:
                    self.taken(id, 0, 4)
            elif sock is not None:
                sock.close()
        elif kind == USUAL:
            self.usual = dict(self.template, **loads(data[start:end]))
            # Each environ is a copy of this one, with its room: that of two entries more, which
            # few do without, costs less here than when they come.
            self.usual.update(HTTP_HOST="", REMOTE_PORT="")
            del self.usual["HTTP_HOST"], self.usual["REMOTE_PORT"]
        elif kind == SHUTDOWN:
            self.stopping = True
        else:
            self.log("error", "the worker sent a frame of unknown kind %d" % kind)
        if stream is not None:
            stream.version += 1
            if stream.waiter is not None:
                self.wake(stream)

    def environ(self, item):
        """The environ of a request."""
        _, path, target, address, port, host, given, _ = item
        environ = self.usual.copy()
        environ["PATH_INFO"] = path
        environ["REQUEST_URI"] = environ["RAW_URI"] = target
        environ["REMOTE_ADDR"] = address
        if port is not None:
            environ["REMOTE_PORT"] = port
        if host is not None:
            environ["HTTP_HOST"] = host
        if given is not None:
            environ.update(given)
        return environ

    def descriptor(self):
        """What the worker has sent us. None: we had none left for it."""
        _, rights, _, _ = self.lends.recvmsg(1, 64, CLOEXEC)
        if not rights:
            return None
        return int.from_bytes(rights[0][2][:4], sys.byteorder)

    def kept(self):
        """The file that the worker has sent us with a request's body; or Lost."""
        fd = self.descriptor()
        return Lost if fd is None else FileIO(fd)

    def lost(self, id):
        """Answer a request whose body did not come through."""
        self.log("error", "a request's body is lost: no descriptor is free")
        self.answer((id, "503 Service Unavailable", [("Content-Type", "text/plain")], b"Service Unavailable\n"))

    def borrow(self):
        """The connection that the worker has sent us. None: we have no descriptor left."""
        fd = self.descriptor()
        if fd is None:
            return None
        # Any family does for what is done with it; -1 would ask the system.
        sock = raw_socket(AF_UNIX, SOCK_STREAM, 0, fd)
        if getdefaulttimeout() is not None:
            sock.settimeout(0.0)  # it does not block; an app has changed the default
        return sock

    # Writing.

    def forked(self):
        """In a fork: who held the lock has stayed behind."""
        self.lock = allocate_lock()
        self.flushing = allocate_lock()
        for stream in self.streams.values():
            for held in (stream.lent, stream.source):
                if type(held) in (Lent, Source) and held.sock is not None:
                    held.sock.close()  # else the client would wait for the fork's end
        for sock in self.grants.values():
            if sock is not None:
                sock.close()

    def write(self, data):
        """Write all of data; holds self.lock so that frames stay whole."""
        with self.lock:
            if self.early:
                data = self.early + data
                self.early = b""
            try:
                sent = self.send(data)
                while sent < len(data):
                    data = memoryview(data)[sent:]
                    sent = self.send(data)
            except OSError:
                os._exit(0)  # the worker is gone

    def frame(self, kind, id, body=b""):
        self.write(header.pack(len(body), kind << 24 | id) + body)

    def later(self, kind, id, body=b""):
        """Have a frame go with the next write. Who runs requests flushes, as for answers."""
        with self.lock:
            self.early += header.pack(len(body), kind << 24 | id) + body

    def over(self, id, said):
        """Say that a response in parts is over, before long: such ends go together as well."""
        self.later(END, id, said)
        if self.poured > POURED:
            self.flush()

    def answer(self, answer):
        """Queue a whole response: (id, status, headers, body)."""
        answers = self.answers
        answers.append(answer)
        self.size += len(answer[3])
        if self.size > MUCH or len(answers) >= MANY:
            self.flush()

    def flush(self):
        """Send the answers, unless another thread is at it: it sends what comes meanwhile."""
        while self.answers or self.early:
            if not self.flushing.acquire(False):
                return
            try:
                self.send_answers()
            finally:
                self.flushing.release()

    def send_answers(self):
        # Others append meanwhile: the list stays the same, so that none is lost.
        answers = self.answers[:]
        del self.answers[: len(answers)]
        self.poured = 0
        if not answers:
            if self.early:
                self.write(b"")
            return
        self.size = 0
        try:
            body = dumps(answers, 4)
        except ValueError:
            body = dumps([plain(answer) for answer in answers], 4)
        self.write(header.pack(len(body), BATCH << 24 | self.spread) + body)

    def stream(self, id):
        """The stream of a request, made where the response needs one."""
        stream = self.streams.get(id)
        if stream is None:
            stream = Stream(id)
            if id in self.aborted:
                stream.gone = True
            self.streams[id] = stream
        return stream

    def begin(self, stream, status, headers, length, first, lends):
        """Send the head of a response whose body begins with first bytes. lends: the body
        may be written on the connection itself."""
        large = lends and (first > SMALL if length is None else length > INLINE)
        chunked = length is None
        if self.grants and large and not chunked and self.take_grant(stream, status, headers, length):
            return
        head = dumps([plain_head(status, headers)], 4)
        stream.begun = True
        refused = self.refused[chunked]
        if not large or refused and refused & 31:
            self.refused[chunked] += large
            self.frame(START, stream.id, head)
            return
        stream.lending = True
        stream.lent = length
        self.frame(ASK, stream.id, head)
        while stream.lending:
            seen = stream.version
            if stream.gone:
                stream.lent = None
                raise Gone
            if stream.lending:
                self.wait(stream, seen)
        self.refused[chunked] = 0 if stream.lent is not None else refused + 1

    def take_grant(self, stream, status, headers, length):
        """Write a response of length bytes on the connection that came with the request. False:
        none did, or its head is the worker's to make."""
        sock = self.grants.get(stream.id)
        if sock is None or stream.gone:
            return False
        head = heads.make(status, headers, length)
        if head is None:
            return False
        del self.grants[stream.id]
        stream.begun = True
        code = int(status[:3])
        self.marks[stream.id] = code
        stream.lent = Lent(sock, False, head, length)
        stream.lent.untold = grant_terms.pack(code, length)
        return True

    def all(self, stream, parts):
        """Send all of a response's body at once, whatever the client takes."""
        chunk = parts[0] if len(parts) == 1 else parts
        if type(chunk) is list and (stream.lent is None or len(parts) > PARTS):
            chunk = b"".join(parts)
        if stream.lent is not None:
            chunk = stream.lent.write(chunk, True)
        stream.window += len(chunk)  # which is all that there is: nothing waits
        lent, stream.lent = stream.lent, None
        self.data(stream, chunk)
        stream.lent = lent

    def data(self, stream, chunk):
        """Send a chunk of a response's body, as fast as the client takes it."""
        lent = stream.lent
        if lent is not None:
            if stream.gone:
                raise Gone
            # Where the worker has nothing left to write it is our turn.
            chunk = lent.write(chunk, stream.window == WINDOW)
            self.rest(lent)
            if not chunk:
                return
        self.relay(stream, chunk)

    def rest(self, lent):
        """Let others run, where this response has had its turn, and is not over."""
        if lent.sent > lent.rest and lent.left and self.pause is not None:
            lent.rest = lent.sent + TURN
            self.pause()

    def pour(self, stream, chunks):
        """Send all that is left of a response's body. The connection is lent. Chunks that the
        app makes quickly go together."""
        lent = stream.lent
        held = lent.held
        first = 3 if lent.chunked else 1  # parts of a chunk
        bursts = self.bursts
        clock = perf_counter
        seen = stream.version
        room = booked = self.room(stream)
        floor, until = bursts.begin(room)
        try:
            for chunk in chunks:
                size = len(chunk) if type(chunk) is bytes else 0
                if 0 < size <= room and stream.version == seen:
                    # The short way, for what is as it nearly always is.
                    if first == 1:
                        held.append(chunk)
                    else:
                        held += (b"%x\r\n" % size, chunk, b"\r\n")
                    room -= size
                    count = len(held)
                    if room > floor and count < HELD and clock() < until:
                        if count == first:
                            bursts.add(lent)
                        continue
                    bursts.discard(lent)
                    lent.push(room > 0)
                    if not held:
                        floor, until = bursts.begin(room)
                        continue
                    chunk = b""
                elif not isinstance(chunk, bytes):
                    raise TypeError("the body holds %s, want bytes" % type(chunk).__name__)
                lent.book(booked - room)
                booked = room
                self.settle(stream)
                if chunk:
                    self.data(stream, chunk)
                seen = stream.version
                room = booked = self.room(stream)
                floor, until = bursts.begin(room)
            self.settle(stream)
        except BaseException:
            try:
                self.settle(stream)
            except Gone:
                pass  # what else has happened says more
            raise
        finally:
            lent.book(booked - room)

    def room(self, stream):
        """How many bytes may go to the connection that is lent without a further look, as long
        as the stream's version stays the same."""
        lent = stream.lent
        if stream.window != WINDOW or stream.gone:
            return 0
        return lent.room() if self.pause is None else min(lent.room(), lent.rest - lent.sent)

    def settle(self, stream):
        """Send what is held. What the connection does not take is the worker's."""
        lent = stream.lent
        if lent.held:
            self.bursts.discard(lent)
            if stream.gone:
                raise Gone
            lent.push(False)
            rest = lent.take()
            if rest:
                self.relay(stream, rest)

    def relay(self, stream, chunk):
        """Send a chunk to the worker, as fast as the client takes it."""
        lent = stream.lent
        if lent is not None and lent.untold:
            self.frame(BEGUN, stream.id, lent.untold)
            lent.untold = b""
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
                self.lends.sendmsg([b"."], rights)
                sent = self.send(message)
                while sent < len(message):
                    sent += self.send(message[sent:])
            except OSError:
                os._exit(0)

    def take(self, stream):
        """The next chunk of a request's body, and how much of it is in shared memory: a
        memoryview to be given back by release, or bytes; b"" at the body's end, and None
        where receive reads on."""
        chunks = stream.chunks
        while True:
            seen = stream.version
            if chunks:
                break
            if stream.source is not None:
                return None, -1
            if stream.ended:
                return b"", -1
            if stream.gone:
                raise Left("the client left before its request's body was complete")
            if not stream.asked:
                stream.asked = True
                self.frame(CREDIT, stream.id, pair.pack(WINDOW, self.readable is not None))
            else:
                self.credit(stream)
                if self.early:
                    self.write(b"")
            self.wait(stream, seen)
        chunk = chunks.pop(0)
        if type(chunk) is not tuple:
            return chunk, -1
        slot, count = chunk
        at = slot * SLOT
        return self.view[at : at + count], slot

    def receive(self, stream, buffer):
        """Read the request's body from the connection that was lent, into buffer."""
        source = stream.source
        size = min(len(buffer), source.left)
        while True:
            try:
                count = source.sock.recv_into(buffer, size)
                break
            except BlockingIOError:
                pass
            except OSError:
                self.give_back(stream, 3)
                raise
            if self.answers or self.early:
                self.flush()
            if stream.gone:
                raise Left("the worker has given the request up")
            if not self.readable(source.sock.fileno(), source.patience):
                self.give_back(stream, 2)
                raise TimeoutError("the client has sent nothing of its request's body for %d seconds" % source.patience)
        if count == 0:
            self.give_back(stream, 1)
            raise Left("the client left before its request's body was complete")
        source.taken += count
        source.left -= count
        if source.left == 0:
            self.give_back(stream, 0)
        return count

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

    def give_back(self, stream, why):
        """Tell the worker how much was read on the connection that it has lent."""
        source = stream.source
        stream.source = None
        source.sock.close()
        if source.last and source.left == 0:
            stream.ended = True
        self.taken(stream.id, source.taken, why)

    def taken(self, id, count, why):
        self.later(TAKEN, id, long_pair.pack(count, why))

    def finish(self, id):
        """Forget a request. Called before its last frame is sent. Return what that frame
        has to say about a connection that was lent."""
        if self.grants:
            sock = self.grants.pop(id, None)
            if sock is not None:
                sock.close()
        stream = self.streams.pop(id, None)
        said = b""
        if stream is not None:
            if stream.source is not None:
                self.give_back(stream, 0)
            if type(stream.lent) is Lent:
                lent = stream.lent
                lent.close()
                said = long_pair.pack(lent.sent, lent.made) + lent.untold
                self.poured += lent.sent
            for chunk in stream.chunks:
                if type(chunk) is tuple:
                    stream.slots += chunk[0].to_bytes(4, "little")
            del stream.chunks[:]
            if stream.slots:
                self.credit(stream)
            stream.done = True
        if self.aborted:
            self.aborted.discard(id)
        return said

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
    lends = raw_socket(fileno=settings["lends"])
    lends.setblocking(True)
    arena = None
    slots = settings["request_slots"], settings["response_slots"]
    if settings["arena"] >= 0:
        arena = mmap.mmap(settings["arena"], sum(slots) * SLOT + 2 * settings["marks"])
        return Pipe(sock, lends, arena, *slots, settings["marks"])
    return Pipe(sock, lends, None, 0, 0, 0)
