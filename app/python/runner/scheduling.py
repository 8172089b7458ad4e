"""How the system schedules the threads that run requests.

A thread that wakes up preempts the one that runs on its processor. Where both are of one
interpreter that is for nothing: the one that ran has the interpreter's lock, the other waits for
it at once, and they change places back. Threads of SCHED_BATCH (sched(7)) do not preempt: where
many requests wait at a time they are switched 4.2 times a request in place of 6.0. While the
processors have other work, though, such a thread waits some milliseconds for its turn. So it is
for times when naps show that there is none.
"""

import os
from _thread import get_native_id

LATE = 0.001  # seconds that naps end late, on average: above, the processors have other work
LEASE = 1.0  # seconds that it lasts, since many requests ran at a time
PAUSE = 10.0  # seconds until it is tried again
WEIGHT = 0.1  # of one nap in their average
NEVER = float("inf")


class Scheduling:
    def __init__(self):
        # When the threads preempt again: end is due then. NEVER: they do.
        self.until = NEVER
        self.threads = []  # as the system numbers them
        self.late = 0.0  # seconds, on average
        self.again = 0.0  # when it may be tried again
        try:
            # Not where the operator has said how the child is scheduled.
            self.may = os.sched_getscheduler(0) == os.SCHED_OTHER
        except (AttributeError, OSError):  # macOS; musl, or a sandbox
            self.may = False

    def add(self):
        """Have the thread that calls it scheduled so, from the next change on."""
        self.threads.append(get_native_id())

    def napped(self, late, now):
        """Take note that many requests run, and that a thread which slept meanwhile woke up
        late, by so many seconds."""
        self.late += (late - self.late) * WEIGHT
        if self.until < NEVER:
            self.until = now + LEASE
            if self.late > LATE:
                self.again = now + PAUSE
                self.end()
        elif self.may and now > self.again:
            self.late = 0.0
            self.until = now + LEASE
            self.set(os.SCHED_BATCH)

    def end(self):
        """Have the threads preempt again."""
        self.until = NEVER
        self.set(os.SCHED_OTHER)

    def set(self, policy):
        try:
            for thread in self.threads:
                os.sched_setscheduler(thread, policy, os.sched_param(0))
        except OSError:
            self.may = False
