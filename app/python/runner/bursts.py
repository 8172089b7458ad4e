"""Chunks that are sent together.

Each segment that reaches a client which waits for it wakes the client, and the sender pays for
that: chunks that an app makes one right after another go as one burst. PEP 3333 has a chunk sent
before the app is asked for the next one, or a thread that sends it meanwhile. Here is that thread,
for apps that were quick and are not any more. It needs the interpreter for a moment: code that
keeps that to itself, as an extension may, keeps it waiting.
"""

from _thread import allocate_lock, start_new_thread
from time import perf_counter, sleep

from _chaussette.lent import Gone

QUICK = 0.0005  # seconds in which chunks are made that go together
BURST = 1 << 20  # bytes that do
HELD = 300  # parts, of at most 1,024 that the system takes
TICK = 0.002  # seconds that a chunk waits for an app which is not quick; twice that at most
IDLE = 50  # ticks without anything held, and the thread sleeps


class Bursts:
    """The responses of which something is held."""

    def __init__(self):
        self.lents = set()
        self.lock = allocate_lock()  # over started, and over asleep where it becomes False
        self.started = False
        self.asleep = True
        self.awake = allocate_lock()
        self.awake.acquire()

    def begin(self, room):
        """What the room comes down to, and the time, until which a burst that begins now goes on."""
        return max(0, room - BURST), perf_counter() + QUICK

    def add(self, lent):
        """Watch lent, of which something is held."""
        self.lents.add(lent)
        if self.asleep:
            self.rouse()

    def discard(self, lent):
        self.lents.discard(lent)

    def rouse(self):
        with self.lock:
            if not self.started:
                self.started = True
                start_new_thread(self.run, ())
            if self.asleep:
                self.asleep = False
                self.awake.release()

    def run(self):
        """The life of the thread."""
        while True:
            self.awake.acquire()
            self.watch()

    def watch(self):
        """Push what waits for too long, until nothing does."""
        seen = {}
        idle = 0
        while True:
            sleep(TICK)
            now = {lent: (len(lent.held), lent.sent) for lent in tuple(self.lents) if lent.held}
            for lent, state in now.items():
                if seen.get(lent) == state:
                    try:
                        lent.push(False)
                    except Gone:
                        self.lents.discard(lent)  # who writes the next chunk will see
            seen = now
            idle = 0 if now else idle + 1
            if idle < IDLE:
                continue
            self.asleep = True
            with self.lock:
                if not self.asleep or not any(lent.held for lent in tuple(self.lents)):
                    return
                self.asleep = False
                idle = 0
