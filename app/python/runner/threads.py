"""Modes serial and threads: leader and follower.

The thread that holds the lead reads the pipe. It then runs what it read itself, since
handing a request to another thread costs more than most requests. Only where the app
proves slow it wakes another, which takes the next request, or reads on, and wakes the one
after. A thread that is stuck in its first slow request cannot wake anyone, so the worker
does: it writes to the wake pipe when requests wait and nothing comes back for some
milliseconds, or for a second where the answers say that the threads see to it.

With one thread this is the serial mode.
"""

import os
import _thread
from collections import deque
from select import POLLIN, poll
from time import perf_counter, sleep

from _chaussette.pipe import READ
from _chaussette.scheduling import Scheduling

SLOW = 0.0003  # seconds a request: above, waking a thread is worth it
STEP = 0.002  # seconds that one request counts at most: it may just have lost the processor
LONG = 2 * STEP  # seconds a request: above, its answer may wait for others, a fortieth of that
ENOUGH = 0.9 * STEP  # an average that further slow requests need not raise
PATIENCE = 0.0005  # seconds an answer may wait for others to go with
MANY = 15  # requests that run


def readable(fd, seconds):
    waiting = poll()
    waiting.register(fd, POLLIN)
    return bool(waiting.poll(None if seconds is None else seconds * 1000))


class Threads:
    def __init__(self, host, count, wake_read):
        self.host = host
        self.pipe = host.pipe
        self.count = count
        self.wake_read = wake_read
        self.lead = _thread.allocate_lock()
        self.pending = deque()
        self.idle = deque()  # a lock for each thread that waits; the last one is called first
        self.average = 0.0
        self.waiting = deque()  # locks of threads that wait for a stream
        self.gathering = False  # a thread waits for more answers, and sends them
        self.scheduling = Scheduling()
        self.pipe.wait = self.wait
        self.pipe.wake = self.wake
        self.pipe.readable = readable

    def serve(self):
        for _ in range(self.count - 1):
            _thread.start_new_thread(self.work, ())
        _thread.start_new_thread(self.watch, ())
        if self.count == 1:
            self.work_alone()
        else:
            self.work()

    def work_alone(self):
        """work, where there is nobody to be woken, and nobody to wait for."""
        pipe = self.pipe
        pending = self.pending
        take = pending.popleft
        run = self.host.run
        clock = perf_counter
        before = clock()
        while not pipe.stopping:
            if not pending:
                if pipe.answers or pipe.early:
                    pipe.flush()
                self.lead.acquire()
                self.read()
                before = clock()
                continue
            run(take())
            now = clock()
            if now - before > PATIENCE and (pipe.answers or pipe.early):
                pipe.flush()
            before = now
        if pipe.answers or pipe.early:
            pipe.flush()

    def work(self):
        pipe = self.pipe
        pending = self.pending
        idle = self.idle
        lead = self.lead
        run = self.host.run
        clock = perf_counter
        scheduling = self.scheduling
        scheduling.add()
        crowd = self.count - MANY
        mine = _thread.allocate_lock()
        mine.acquire()
        while not pipe.stopping:
            if not pending:
                if (pipe.answers or pipe.early) and not self.gathering:
                    pipe.flush()
                if not lead.locked() and lead.acquire(False):
                    # The leader before us may have read that it is over, since we looked.
                    if pipe.stopping:
                        lead.release()
                    else:
                        self.read()
                    continue
                idle.append(mine)
                if pending or not lead.locked() or pipe.stopping:
                    # Whoever made it so may have looked for us too early.
                    try:
                        idle.remove(mine)
                        continue
                    except ValueError:
                        pass  # called already
                mine.acquire()
                continue
            try:
                item = pending.popleft()
            except IndexError:
                continue
            if pipe.spread:
                if idle and (pending or not lead.locked()):
                    # One at a time, and each calls the next: together they would only wait
                    # for one another, since one of them runs at a time. This is self.call.
                    try:
                        idle.pop().release()
                    except IndexError:
                        pass
                elif (pipe.answers or pipe.early) and not self.gathering:
                    pipe.flush()  # nobody else would, while we run
            begin = clock()
            run(item)
            now = clock()
            took = now - begin
            if now > scheduling.until:
                scheduling.end()  # few requests run
            if took < LONG or self.average < ENOUGH:
                self.average += (min(took, STEP) - self.average) * 0.1
                pipe.spread = self.average > SLOW
                if took > PATIENCE and not self.gathering and (pipe.answers or pipe.early):
                    pipe.flush()
            elif not self.gathering and (pipe.answers or pipe.early):
                if len(idle) < crowd and not pending:
                    self.gather(min(took * 0.025, 0.0005), now)
                pipe.flush()
        if pipe.answers or pipe.early:
            pipe.flush()
        for _ in range(self.count):
            self.call()  # the others end as well

    def gather(self, seconds, begin):
        """Wait for the answers of others. Where many requests take their time, one more
        fortieth is not felt, and what goes together costs much less: answers, and then
        the requests that their clients send next."""
        self.gathering = True
        sleep(seconds)
        self.gathering = False
        end = perf_counter()
        self.scheduling.napped(end - begin - seconds, end)

    def call(self):
        """Wake the thread that has waited for the shortest time: it is still warm."""
        try:
            self.idle.pop().release()
        except IndexError:
            pass

    def watch(self):
        """Do what the one that reads does, when the worker says that it may be stuck: send the
        answers of requests that came before, and wake another thread."""
        while os.read(self.wake_read, 1):
            if self.pipe.answers or self.pipe.early:
                self.pipe.flush()
            if self.pending or not self.lead.locked():
                self.call()

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

    def wait(self, stream, seen):
        """Wait until something about stream changed; read where no one else does."""
        if self.pipe.answers or self.pipe.early:
            self.pipe.flush()
        if self.lead.acquire(False):
            if stream.version == seen:
                self.read()
                if self.pending:
                    self.call()
                if stream.version != seen:
                    self.follow()
            else:
                self.lead.release()
            return
        lock = _thread.allocate_lock()
        lock.acquire()
        stream.waiter = lock
        self.waiting.append(lock)
        # The timeout is for a leader that went off to run a request.
        if stream.version == seen:
            lock.acquire(True, 0.02)
        try:
            self.waiting.remove(lock)
        except ValueError:
            pass
        stream.waiter = None

    def follow(self):
        """Have one of those who wait for a stream read on: the leader goes back to the app."""
        try:
            self.waiting.pop().release()
        except (IndexError, RuntimeError):  # nobody, or it was woken meanwhile
            if self.pipe.spread:
                self.call()

    def wake(self, stream):
        lock = stream.waiter
        if lock is not None and lock.locked():
            try:
                lock.release()
            except RuntimeError:
                pass
