"""Modes gevent and eventlet: a greenlet for each request that runs.

The hub calls read when the pair is readable; each request starts at once, and the
answers of one turn are written together.
"""

import os
from collections import deque

from _chaussette.pipe import READ

MSG_DONTWAIT = 0x40 if os.uname().sysname == "Linux" else 0x80


IDLE = 100  # greenlets kept for the next request


class Greens:
    """What gevent and eventlet have in common; a hub gives the rest.

    A greenlet that is done with its request takes the next one. To make one costs little,
    its first switch much: CPython maps a new stack for it (50 us in 3.11, which is ten
    times a small request).
    """

    def __init__(self, host, hub):
        self.host = host
        self.pipe = host.pipe
        self.recv = host.pipe.sock.recv
        self.hub = hub
        self.pending = deque()
        self.idle = []
        self.planned = False  # a flush is
        self.pipe.wait = self.wait
        self.pipe.wake = self.wake
        self.pipe.readable = hub.readable
        self.pipe.pause = hub.pause

    def serve(self):
        self.hub.serve(3, self.read)

    def read(self, *ignored):
        """Called by the hub when the pair is readable."""
        pipe = self.pipe
        try:
            data = self.recv(READ, MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            os._exit(0)  # the worker is gone
        items = pipe.feed(data)
        if items is not None:
            self.pending.extend(items)
            idle = self.idle
            self.planned = True  # by us, below
            while self.pending:  # the one before waits for something
                if idle:
                    idle.pop().switch(self)
                else:
                    self.hub.start(self.work, self.pending.popleft())
            self.planned = False
            if pipe.answers or pipe.early:
                pipe.flush()
        if pipe.stopping:
            self.hub.stop()

    def work(self, item):
        """The life of a greenlet: one request after another, as long as there are any. One
        that waits is left, and what is pending goes to the next greenlet."""
        run = self.host.run
        pending = self.pending
        take = pending.popleft
        pipe = self.pipe
        me = self.hub.current()
        switch = self.hub.switch
        while True:
            run(item)
            if pending:
                item = take()
                continue
            if not self.planned and (pipe.answers or pipe.early):
                self.planned = True
                self.hub.soon(self.flush)
            if len(self.idle) >= IDLE:
                return
            self.idle.append(me)
            while True:
                try:
                    if switch() is self:
                        item = take()
                        break
                except BaseException:
                    # A timeout that the request before has left behind.
                    continue

    def flush(self):
        self.planned = False
        if self.pipe.answers or self.pipe.early:
            self.pipe.flush()

    def wait(self, stream, seen):
        stream.waiter = self.hub.current()
        try:
            self.hub.switch()
        finally:
            stream.waiter = None

    def wake(self, stream):
        waiter, stream.waiter = stream.waiter, None
        if waiter is not None:
            self.hub.soon(waiter.switch)


class Late(Exception):
    """A time that we have set is over. An app's own timeouts are others."""


class GeventHub:
    def __init__(self):
        from gevent import get_hub, getcurrent, monkey, sleep, spawn

        self.pause = sleep
        self.hub = get_hub()
        if monkey.is_module_patched("os"):
            # gevent does this after its first fork: a child that has ended by then is never
            # noticed, and os.waitpid waits for ever.
            self.hub.loop.install_sigchld()
        self.current = getcurrent
        self.start = spawn
        self.soon = self.hub.loop.run_callback
        self.switch = self.hub.switch

    def serve(self, fd, read):
        from gevent.event import Event

        self.stopped = Event()
        watcher = self.hub.loop.io(fd, 1)
        watcher.start(read)
        self.stopped.wait()
        watcher.stop()

    def stop(self):
        self.stopped.set()

    def readable(self, fd, seconds):
        from gevent.socket import wait_read

        try:
            wait_read(fd, seconds, Late)
        except Late:
            return False
        return True


class EventletHub:
    def __init__(self):
        from eventlet import hubs, sleep, spawn
        from greenlet import getcurrent

        self.hub = hubs.get_hub()
        self.pause = sleep
        self.current = getcurrent
        # Not a bare greenlet: to eventlet's threading that is the main thread.
        self.start = spawn
        self.switch = self.hub.switch

    def soon(self, function):
        self.hub.schedule_call_global(0, function)

    def serve(self, fd, read):
        from eventlet.event import Event

        self.stopped = Event()
        listener = self.hub.add(self.hub.READ, fd, read, lambda *error: os._exit(0), lambda: None)
        self.stopped.wait()
        self.hub.remove(listener)

    def stop(self):
        if not self.stopped.ready():
            self.stopped.send(True)

    def readable(self, fd, seconds):
        from eventlet.hubs import trampoline

        try:
            trampoline(fd, read=True, timeout=seconds, timeout_exc=Late)
        except Late:
            return False
        return True
