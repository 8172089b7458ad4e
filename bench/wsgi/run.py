#!/usr/bin/env python3
"""Measure Chaussette against the servers that run WSGI apps today.

    bench/wsgi/run.py [--seconds 4] [--rounds 3] [--cases hello,stream] [--servers NAME,...]

Each server is loaded by wrk with 64 keep-alive connections, one after another and round
after round, so that all see the same machine. What counts is the CPU time a request of
the server's whole process tree; rates depend on what else the machine does. The table
has the median of the rounds. The case memory has the resident memory of an idle worker
with its child, and how much more it is than the interpreter with the app, and with the
package by which the backend runs it. Needs bin/chaussette and the packages of `scripts/setup
bench`; a server that is not installed, or does not start, says so in its row. (bjoern is not
Debian's: pip install bjoern.)
"""

import argparse
import http.client
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PYTHON = "/usr/bin/python3"
CHAUSSETTE = [ROOT + "/bin/chaussette", "--python", PYTHON, "--host", "127.0.0.1", "--port", "{port}", "--log-level", "error"]
OLD = ["/usr/bin/chaussette", "--host", "127.0.0.1", "--port", "{port}", "--log-level", "error"]
EVENTLET = "import eventlet; eventlet.monkey_patch(); from eventlet import wsgi; import apps; wsgi.server(eventlet.listen(('127.0.0.1', {port})), apps.{app}, log_output=False)"
GEVENT = "from gevent import monkey; monkey.patch_all(); from gevent.pywsgi import WSGIServer; import apps; WSGIServer(('127.0.0.1', {port}), apps.{app}, log=None).serve_forever()"
TORNADO = "import apps, tornado.wsgi, tornado.httpserver, tornado.ioloop; tornado.httpserver.HTTPServer(tornado.wsgi.WSGIContainer(apps.{app})).listen({port}, '127.0.0.1'); tornado.ioloop.IOLoop.current().start()"
WAITRESS = "import apps, waitress; waitress.serve(apps.{app}, host='127.0.0.1', port={port}, threads={threads})"
BJOERN = "import apps, bjoern; bjoern.run(apps.{app}, '127.0.0.1', {port})"
BARE = "{patch}; import apps, time; print(flush=True); time.sleep(60)"
PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
    "tornado": "import tornado.ioloop",
}
PATCHES["meinheld"] = PATCHES["fastgevent"] = PATCHES["gevent"]
WSGIREF = "import apps; from wsgiref.simple_server import *; WSGIRequestHandler.log_message = lambda *a: None; make_server('127.0.0.1', {port}, apps.{app}).serve_forever()"
UWSGI = ["uwsgi", "--plugin", "python3", "--http11-socket", "127.0.0.1:{port}", "--master", "--need-app", "--disable-logging", "--module", "apps:{app}"]
GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "error", "--worker-tmp-dir", "/dev/shm", "apps:{app}"]

# name: (command, threads of the pool)
SERVERS = {
    "wsgiref": CHAUSSETTE + ["--backend", "wsgiref", "apps.{app}"],
    "gevent": CHAUSSETTE + ["--backend", "gevent", "apps.{app}"],
    "waitress": CHAUSSETTE + ["--backend", "waitress", "--spawn", "{threads}", "apps.{app}"],
    "eventlet": CHAUSSETTE + ["--backend", "eventlet", "apps.{app}"],
    "tornado": CHAUSSETTE + ["--backend", "tornado", "apps.{app}"],
    "bjoern": CHAUSSETTE + ["--backend", "bjoern", "apps.{app}"],
    "meinheld": CHAUSSETTE + ["--backend", "meinheld", "apps.{app}"],
    "fastgevent": CHAUSSETTE + ["--backend", "fastgevent", "apps.{app}"],
    "old chaussette wsgiref": OLD + ["--backend", "wsgiref", "apps.{app}"],
    "old chaussette waitress": OLD + ["--backend", "waitress", "apps.{app}"],
    "old chaussette eventlet": OLD + ["--backend", "eventlet", "apps.{app}"],
    "wsgiref itself": [PYTHON, "-c", WSGIREF],
    "gevent.pywsgi": [PYTHON, "-c", GEVENT],
    "waitress itself": [PYTHON, "-c", WAITRESS],
    "eventlet.wsgi": [PYTHON, "-c", EVENTLET],
    "tornado itself": [PYTHON, "-c", TORNADO],
    "bjoern itself": [PYTHON, "-c", BJOERN],
    "gunicorn sync": GUNICORN,
    "gunicorn gevent": GUNICORN + ["--worker-class", "gevent"],
    "gunicorn gthread": GUNICORN + ["--worker-class", "gthread", "--threads", "{threads}"],
    "uwsgi": UWSGI + ["--processes", "1", "--threads", "{threads}", "--enable-threads"],
}
OURS = [name for name, command in SERVERS.items() if command[0] == CHAUSSETTE[0]]
LARGE = OURS + ["uwsgi", "gunicorn gevent", "bjoern itself"]
CASES = {
    "hello": list(SERVERS),
    "body10k": LARGE,
    "stream": LARGE,
    "upload": LARGE,
    "sleep": ["waitress", "gevent", "meinheld", "uwsgi", "gunicorn gthread", "gunicorn gevent", "waitress itself"],
    "memory": OURS,
}
THREADS = {"sleep": 64}


def tree(pid):
    """The processes of pid's tree: pid and all below it."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir("/proc/%d/task" % parent):
                with open("/proc/%d/task/%s/children" % (parent, task)) as file:
                    found += [int(child) for child in file.read().split()]
        except OSError:
            pass
    return found


def cpu(pids):
    """Seconds of CPU that pids have used."""
    ticks = 0
    for pid in pids:
        try:
            with open("/proc/%d/stat" % pid) as file:
                fields = file.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return ticks / os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def await_server(process, port):
    for _ in range(200):
        if process.poll() is not None:
            return False
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/")
            connection.getresponse().read()
            return True
        except OSError:
            time.sleep(0.05)
    return False


def resident(pids):
    """MiB of memory that pids have resident."""
    pages = 0
    for pid in pids:
        with open("/proc/%d/statm" % pid) as file:
            pages += int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def bare(name):
    """MiB of the interpreter that does nothing but hold the apps, and the package by which
    the backend runs them."""
    env = dict(os.environ, PYTHONPATH=HERE)
    process = subprocess.Popen([PYTHON, "-c", BARE.format(patch=PATCHES.get(name, "pass"))], env=env, stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        return resident([process.pid])
    finally:
        process.kill()
        process.wait()


def measure(name, case, seconds):
    """Return (us of CPU a request, requests/s, p99 in ms), or why there is none. Of the case
    memory: (MiB resident, MiB more than the bare interpreter)."""
    port = free_port()
    values = {"port": port, "app": "hello" if case == "memory" else case, "threads": THREADS.get(case, 4)}
    command = [part.format(**values) if "{" in part else part for part in SERVERS[name]]
    env = dict(os.environ, PYTHONPATH=HERE, PATH="/usr/bin:/bin")
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(command, cwd=HERE, env=env, stdout=errors, stderr=errors, start_new_session=True)
        except OSError as error:
            return "not installed" if error.errno == 2 else str(error)
        try:
            if not await_server(process, port):
                errors.seek(0)
                lines = errors.read().decode(errors="replace").split("\n")
                return "does not start: " + ([line for line in lines if line.strip()] or ["no output"])[-1][:60]
            if case == "memory":
                size = resident(tree(process.pid))
                return size, size - bare(name)
            load = ["wrk", "-t1", "-c64", "--latency", "http://127.0.0.1:%d/" % port]
            if case == "upload":
                load += ["-s", HERE + "/upload.lua"]
            subprocess.run(load + ["-d1s"], capture_output=True, check=True)
            pids = tree(process.pid)
            before = cpu(pids)
            out = subprocess.run(load + ["-d%ds" % seconds], capture_output=True, check=True, text=True).stdout
            used = cpu(pids) - before
        finally:
            for pid in tree(process.pid)[::-1]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            process.wait()
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    if requests == 0:
        return "answers nothing"
    bad = re.search(r"Non-2xx.*?(\d+)", out)
    if bad and int(bad.group(1)) > requests / 100:
        return "answers errors"
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
    p99, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()
    return used / requests * 1e6, rate, float(p99) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--servers", default="")
    arguments = parser.parse_args()
    wanted = arguments.servers.split(",") if arguments.servers else list(SERVERS)
    for case in arguments.cases.split(","):
        results = {name: [] for name in CASES[case] if name in wanted}
        for _ in range(arguments.rounds):
            for name in results:
                if not results[name] or not isinstance(results[name][-1], str):
                    results[name].append(measure(name, case, arguments.seconds))
        columns = ["MiB", "more than the interpreter"] if case == "memory" else ["CPU us/request", "requests/s", "p99 ms"]
        print("\n| %s | %s |\n|%s" % (case, " | ".join(columns), "---|" * (len(columns) + 1)))
        for name, runs in results.items():
            label = ("**chaussette %s**" if SERVERS[name][0] == CHAUSSETTE[0] else "%s") % name
            if isinstance(runs[-1], str):
                cells = [runs[-1]] + [""] * (len(columns) - 1)
            else:
                cells = ["%.*f" % (column != "requests/s", statistics.median(run[i] for run in runs)) for i, column in enumerate(columns)]
            print("| %s | %s |" % (label, " | ".join(cells)))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
