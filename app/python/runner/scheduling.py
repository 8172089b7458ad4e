"""How the system schedules the threads that run requests.

A thread that wakes up preempts the one that runs on its processor. Where both are of one
interpreter that is for nothing: the one that ran has the interpreter's lock, the other waits for
it at once, and they change places back. Threads of SCHED_BATCH (sched(7)) do not preempt, which
saves a fifth of the switches and a tenth of the CPU where many requests wait at a time. While the
processors have other work, though, such a thread waits some milliseconds for its turn. So it is
for times when naps show that there is none.
"""

import os
from _thread import get_native_id

LATE = 0.001  # seconds that naps end late, on average: above, the processors have other work
LEASE = 1.0  # seconds since many requests ran at a time
PAUSE = 10.0  # seconds until it is tried again
WEIGHT = 0.1  # of one nap in their average


class Scheduling:
    def __init__(self):
        self.batch = False  # the threads do not preempt
        self.threads = []  # as the system numbers them
        self.late = 0.0  # seconds, on average
        self.until = 0.0  # when the lease ends
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
        self.until = now + LEASE
        if not self.batch:
            if self.may and now > self.again:
                self.late = 0.0
                self.set(True)
        elif self.late > LATE:
            self.again = now + PAUSE
            self.set(False)

    def few(self, now):
        """Take note that a request has run, and perhaps few others."""
        if now > self.until:
            self.set(False)

    def set(self, batch):
        """Change how all threads are scheduled."""
        self.batch = batch
        policy = os.SCHED_BATCH if batch else os.SCHED_OTHER
        try:
            for thread in self.threads:
                os.sched_setscheduler(thread, policy, os.sched_param(0))
        except OSError:
            self.may = False
