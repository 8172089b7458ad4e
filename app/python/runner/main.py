"""The child's life: hello, load, ready, serve, end."""

import json
import os
import signal
import sys

from _chaussette import greens, loading, threads, wsgi
from _chaussette import pipe as pipes


def main(text):
    settings = json.loads(text)
    pipe = pipes.open_pipe(settings)
    if settings["pdeathsig"]:
        die_with_parent(settings["parent"])
    install_signals()
    os.register_at_fork(after_in_child=lambda: forked(pipe))
    sys.argv = ["chaussette", settings["name"]] + settings["arguments"]
    hello(pipe, settings)
    try:
        hub = prepare_mode(settings)
        loading.prepare_path(settings["python_path"])
        app = loading.load(settings["name"])
        run_hook(settings, "pre_hook")
        serve = prepare(pipe, app, settings, hub)
    except loading.LoadError as error:
        fail(pipe, str(error), error.detail, error.missing)
    except BaseException as error:
        import traceback

        fail(pipe, "%s: %s" % (type(error).__name__, error), traceback.format_exc())
    pipe.frame(pipes.READY, 0, json.dumps({"app": repr(app)}).encode())
    serve()
    try:
        run_hook(settings, "post_hook")
    except BaseException as error:
        import traceback

        pipe.log("error", "the post-hook failed: %s" % error, traceback.format_exc())
    sys.stdout.flush()
    sys.stderr.flush()


def hello(pipe, settings):
    """Say who we are and prove that both ends mean the same by their bytes."""
    read = pipes.loads(bytes.fromhex(settings["proof"]))
    body = {
        "version": pipes.VERSION,
        "python": sys.version.split()[0],
        "executable": sys.executable,
        "read": read == pipes.PROOF,
        "proof": pipes.dumps(pipes.proof_answers(), 4).hex(),
    }
    pipe.frame(pipes.HELLO, 0, json.dumps(body).encode())


def fail(pipe, message, detail, missing=False):
    if sys.exc_info()[0] is not None:
        message += "\ninterpreter: %s (%s)\nsys.path: %s" % (sys.executable, sys.version.split()[0], sys.path)
    sys.stdout.flush()
    sys.stderr.flush()
    pipe.frame(pipes.FAILED, 0, json.dumps({"message": message, "detail": detail, "missing": missing}).encode())
    os._exit(3)


def prepare_mode(settings):
    """Patch before anything of the app is imported; return the hub of a green mode."""
    mode = settings["mode"]
    packages = {"gevent": "python3-gevent", "eventlet": "python3-eventlet", "tornado": "python3-tornado"}
    if mode not in packages:
        return None
    try:
        if mode == "gevent":
            if not settings["no_monkey"]:
                from gevent import monkey

                monkey.patch_all()
            return greens.GeventHub()
        if mode == "eventlet":
            import eventlet

            if not settings["no_monkey"]:
                eventlet.monkey_patch()
            return greens.EventletHub()
        import tornado.ioloop

        return tornado.ioloop
    except ModuleNotFoundError as error:
        if error.name not in (mode, "greenlet"):
            raise
        raise loading.LoadError(
            "this backend needs the package %s, which this interpreter lacks: pip install %s (Debian: apt install %s)"
            % (mode, mode, packages[mode])
        )


def prepare(pipe, app, settings, hub):
    """Return the function that serves app until the worker says stop."""
    mode = settings["mode"]
    pipe.template = {
        "wsgi.version": (1, 0),
        "wsgi.errors": wsgi.Errors(),
        "wsgi.multithread": mode == "threads" and settings["threads"] > 1 or mode in ("gevent", "eventlet"),
        "wsgi.multiprocess": settings["multiprocess"],
        "wsgi.run_once": False,
        "wsgi.file_wrapper": wsgi.FileWrapper,
        "wsgi.input_terminated": True,
        "SCRIPT_NAME": settings["script_name"].encode().decode("latin-1"),  # as PATH_INFO (PEP 3333)
        "SERVER_SOFTWARE": settings["server_software"],
        "GATEWAY_INTERFACE": "CGI/1.1",
    }
    if not callable(app):
        raise loading.LoadError("%s is not callable: %r" % (settings["name"], app))
    host = wsgi.Host(pipe, app, settings["buffered"])
    if mode in ("gevent", "eventlet"):
        return greens.Greens(host, hub).serve
    if mode == "tornado":
        from _chaussette import tornadoes

        return tornadoes.prepare(host, app, settings)
    count = settings["threads"] if mode == "threads" else 1
    return threads.Threads(host, count, settings["wake_read"]).serve


def run_hook(settings, which):
    name = settings.get(which)
    if not name:
        return
    import argparse

    hook = loading.import_string(name)
    hook(argparse.Namespace(**settings["options"]))


def nothing(number, frame):
    """SIGTERM and SIGINT reach us when a manager signals the whole group. The worker
    ends us, after its drain. A handler instead of SIG_IGN, which the app's
    subprocesses would inherit."""


def install_signals():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, nothing)
    import faulthandler

    # The worker sends SIGABRT to a child that is stuck: every thread's stack is logged.
    faulthandler.enable()


def forked(pipe):
    """In a child that the app forked: it is none of the worker's."""
    pipe.forked()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is nothing:
            signal.signal(number, signal.SIG_DFL)
    try:
        os.close(3)
        # Whatever the fork still sends by mistake goes nowhere, and ends it.
        null = os.open(os.devnull, os.O_RDONLY)
        if null != 3:
            os.dup2(null, 3)
            os.close(null)
    except OSError:
        pass


def die_with_parent(parent):
    """The kernel ends us when the worker ends; it may have ended already."""
    if os.getppid() != parent:
        os._exit(0)
