"""Modes serial and threads: leader and follower.

The thread that holds the lead reads the pipe. It then runs what it read itself, since
handing a request to another thread costs more than most requests. Only where the app
proves slow it wakes others: one to read on, one for each further request. A thread that
is stuck in its first slow request cannot wake anyone, so the worker does: it writes to
the wake pipe when requests wait and nothing comes back for some milliseconds.

With one thread this is the serial mode.
"""

import os
import _thread
from collections import deque
from select import POLLIN, poll
from time import perf_counter

from _chaussette.pipe import READ

SLOW = 0.0003  # seconds a request: above, waking a thread is worth it
STEP = 0.002  # seconds that one request counts at most: it may just have lost the processor
PATIENCE = 0.0005  # seconds an answer may wait for others to go with


def readable(fd, seconds):
    waiting = poll()
    waiting.register(fd, POLLIN)
    return bool(waiting.poll(None if seconds is None else seconds * 1000))


class Threads:
    def __init__(self, host, count, wake_read, wake_write):
        self.host = host
        self.pipe = host.pipe
        self.count = count
        self.wake_read = wake_read
        self.wake_write = wake_write
        self.lead = _thread.allocate_lock()
        self.pending = deque()
        self.idle = 0
        self.slow = False
        self.average = 0.0
        self.waiting = 0
        self.idle_lock = _thread.allocate_lock()
        self.pipe.wait = self.wait
        self.pipe.wake = self.wake
        self.pipe.readable = readable

    def serve(self):
        for _ in range(self.count - 1):
            _thread.start_new_thread(self.work, ())
        self.work()

    def work(self):
        pipe = self.pipe
        pending = self.pending
        run = self.host.run
        clock = perf_counter
        while not pipe.stopping:
            try:
                item = pending.popleft()
            except IndexError:
                if pipe.answers:
                    pipe.flush()
                if self.lead.acquire(False):
                    self.read()
                else:
                    self.sleep()
                continue
            begin = clock()
            run(item)
            took = clock() - begin
            self.average += (min(took, STEP) - self.average) * 0.1
            self.slow = self.average > SLOW
            if took > PATIENCE and pipe.answers:
                pipe.flush()
        if pipe.answers:
            pipe.flush()
        if self.count > 1:
            os.write(self.wake_write, b"." * self.count)  # the others end as well

    def read(self):
        """Read once, as the leader, and give the lead away."""
        try:
            data = self.pipe.sock.recv(READ)
            if not data:
                os._exit(0)  # the worker is gone
            items = self.pipe.feed(data)
            if items is not None:
                self.pending.extend(items)
        except OSError:
            os._exit(0)
        finally:
            self.lead.release()
        if self.idle and (self.slow or self.waiting):
            os.write(self.wake_write, b"." * min(self.idle, max(1, len(self.pending))))

    def sleep(self):
        with self.idle_lock:
            self.idle += 1
        os.read(self.wake_read, 1)
        with self.idle_lock:
            self.idle -= 1

    def wait(self, stream, seen):
        """Wait until something about stream changed; read where no one else does."""
        if self.pipe.answers:
            self.pipe.flush()
        if self.lead.acquire(False):
            if stream.version == seen:
                self.read()
            else:
                self.lead.release()
            return
        lock = _thread.allocate_lock()
        lock.acquire()
        stream.waiter = lock
        self.waiting += 1
        # The timeout is for a leader that went off to run a request.
        if stream.version == seen:
            lock.acquire(True, 0.02)
        self.waiting -= 1
        stream.waiter = None

    def wake(self, stream):
        lock = stream.waiter
        if lock is not None and lock.locked():
            try:
                lock.release()
            except RuntimeError:
                pass
