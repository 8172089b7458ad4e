"""An app that waits, and says how its thread is scheduled."""

import os
import time


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    policy = os.sched_getscheduler(0)
    time.sleep(0.02)
    return [str(policy).encode()]
