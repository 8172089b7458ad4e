#!/usr/bin/env python3
"""Measure Chaussette against the servers that run WSGI apps today.

    bench/wsgi/run.py [--seconds 1] [--rounds 8] [--cases hello,stream] [--servers NAME,...]

All servers of a case are started, and loaded by wrk with 64 keep-alive connections: one at a time,
for a second, round after round, every other one backwards, so that all see the same machine. What
counts is the CPU time a request of the server's whole process tree; rates depend on what else the
machine does. The table has the median of the rounds, and of each round's ratio to uwsgi, with its
quartiles. The case memory has the resident memory of an idle worker
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


class Server:
    """One server with one app. failed says why it cannot be measured, where it is not empty."""

    def __init__(self, name, case):
        self.case = case
        self.failed = ""
        self.process = None
        self.port = free_port()
        values = {"port": self.port, "app": "hello" if case == "memory" else case, "threads": THREADS.get(case, 4)}
        command = [part.format(**values) if "{" in part else part for part in SERVERS[name]]
        env = dict(os.environ, PYTHONPATH=HERE, PATH="/usr/bin:/bin")
        with tempfile.TemporaryFile() as errors:
            try:
                self.process = subprocess.Popen(command, cwd=HERE, env=env, stdout=errors, stderr=errors, start_new_session=True)
            except OSError as error:
                self.failed = "not installed" if error.errno == 2 else str(error)
                return
            if await_server(self.process, self.port):
                return
            errors.seek(0)
            lines = [line for line in errors.read().decode(errors="replace").split("\n") if line.strip()]
            self.failed = "does not start: " + (lines or ["no output"])[-1][:60]

    def load(self, seconds):
        """What wrk says."""
        command = ["wrk", "-t1", "-c64", "--latency", "-d%ds" % seconds, "http://127.0.0.1:%d/" % self.port]
        if self.case == "upload":
            command += ["-s", HERE + "/upload.lua"]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout

    def measure(self, seconds):
        """Return (us of CPU a request, requests/s, p99 in ms); None, and failed says why."""
        pids = tree(self.process.pid)
        before = cpu(pids)
        out = self.load(seconds)
        used = cpu(pids) - before
        requests = int(re.search(r"(\d+) requests in", out).group(1))
        bad = re.search(r"Non-2xx.*?(\d+)", out)
        if requests == 0:
            self.failed = "answers nothing"
        elif bad and int(bad.group(1)) > requests / 100:
            self.failed = "answers errors"
        else:
            rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
            p99, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()
            return used / requests * 1e6, rate, float(p99) * {"us": 0.001, "ms": 1, "s": 1000}[unit]

    def stop(self):
        if self.process is None:
            return
        for pid in tree(self.process.pid)[::-1]:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.process.wait()


def compare(names, case, rounds, seconds):
    """Measure servers by turns. Return {name: results, or why there are none}."""
    servers = {}
    results = {name: [] for name in names}
    try:
        for name in names:
            servers[name] = Server(name, case)
            if not servers[name].failed:
                servers[name].load(1)
        for number in range(rounds):
            for name in names[:: -1 if number % 2 else 1]:
                if not servers[name].failed:
                    results[name].append(servers[name].measure(seconds))
        return {name: servers[name].failed or results[name] for name in names}
    finally:
        for server in servers.values():
            server.stop()


def memory(names):
    """Return {name: (MiB resident, MiB more than the bare interpreter), or why there is none}."""
    results = {}
    for name in names:
        server = Server(name, "memory")
        if not server.failed:
            size = resident(tree(server.process.pid))
        server.stop()
        results[name] = server.failed or (size, size - bare(name))
    return results


def ratio(runs, base):
    """The median of what runs are to base, round by round, and the quartiles."""
    found = sorted(run[0] / other[0] for run, other in zip(runs, base))
    return "%.2f (%.2f to %.2f)" % (statistics.median(found), found[len(found) // 4], found[-1 - len(found) // 4])


def print_table(case, columns, rows):
    print("\n| %s | %s |\n|%s" % (case, " | ".join(columns), "---|" * (len(columns) + 1)))
    for name, cells in rows.items():
        label = ("**chaussette %s**" if SERVERS[name][0] == CHAUSSETTE[0] else "%s") % name
        cells = [cells] if isinstance(cells, str) else cells
        print("| %s | %s |" % (label, " | ".join(cells + [""] * (len(columns) - len(cells)))))
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--servers", default="")
    arguments = parser.parse_args()
    wanted = arguments.servers.split(",") if arguments.servers else list(SERVERS)
    for case in arguments.cases.split(","):
        names = [name for name in CASES[case] if name in wanted]
        if case == "memory":
            rows = memory(names)
            rows = {name: row if isinstance(row, str) else ["%.1f" % size for size in row] for name, row in rows.items()}
            print_table(case, ["MiB", "more than the interpreter"], rows)
            continue
        results = compare(names, case, arguments.rounds, arguments.seconds)
        rows = dict(results)
        for name, runs in results.items():
            if isinstance(runs, str):
                continue
            rows[name] = ["%.*f" % (digits, statistics.median(run[at] for run in runs)) for at, digits in enumerate((1, 0, 1))]
            if not isinstance(results.get("uwsgi", ""), str):
                rows[name].append(ratio(runs, results["uwsgi"]))
        print_table(case, ["CPU us/request", "requests/s", "p99 ms", "x uwsgi"], rows)


if __name__ == "__main__":
    main()
