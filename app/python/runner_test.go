package python_test

import (
	"os/exec"
	"testing"
)

// A thread may look whether it is over, find that it is not, and lead only after the leader
// before it has read that it is. Nothing comes to read then: it once waited for ever, and the
// child with it.
func TestThreadsEndWithTheLead(t *testing.T) {
	t.Parallel()
	runThreads(t, `
class Lead:
    """The leader before gives it away, and has read that it is over."""
    def acquire(self, wait):
        Host.pipe.stopping = True
        return True
    def release(self):
        pass
    def locked(self):
        return False

Socket.recv = lambda self, size: sys.exit("a thread reads after the end")
pool.lead = Lead()
pool.work()
`)
}

// A thread that has read for its own stream goes back to the app. Where the app is slow it
// calls another one to read on, since the worker does not look.
func TestThreadsReadOn(t *testing.T) {
	t.Parallel()
	runThreads(t, `
import _thread
idle = _thread.allocate_lock()
idle.acquire()
pool.idle.append(idle)
stream = Host.pipe.stream(1)
Socket.recv = lambda self, size: pipe.header.pack(0, pipe.END << 24 | 1)
pool.wait(stream, stream.version)
assert idle.locked(), "the app is quick"
Host.pipe.spread = True
pool.wait(stream, stream.version)
assert not idle.locked(), "nobody reads on"
`)
}

// Heads are remembered, but not as many as an app likes, nor however large they are.
func TestHeadsRemembered(t *testing.T) {
	t.Parallel()
	runRunner(t, `
from _chaussette import heads
def make(value):
    head = heads.make("200 OK", [("X-Value", value), ("Content-Length", "7")], 7)
    assert b"\r\nX-Value: " + value.encode() + b"\r\n" in head and head.endswith(b"\r\nContent-Length: 7\r\n\r\n"), head

for _ in range(2):
    make("a")
assert len(heads.known) == 1
make("a" * heads.LARGE)
assert len(heads.known) == 1
for i in range(3 * heads.KNOWN):
    make(str(i))
    make("a")
    assert 0 < len(heads.known) <= heads.KNOWN
`)
}

// A body is waited for before there is memory for it, but not by who reads nothing, or what has come.
func TestInputWaits(t *testing.T) {
	t.Parallel()
	runRunner(t, `
import tracemalloc
from _chaussette import wsgi

class Pipe:
    def __init__(self, *chunks):
        self.chunks = list(chunks)
        self.taken = 0
    def take(self, stream):
        self.taken += 1
        assert self.taken > 1 or tracemalloc.get_traced_memory()[0] < 1 << 20, "there is memory for a body that has not come"
        return (self.chunks.pop(0) if self.chunks else b""), -1
    def release(self, stream, size, slot):
        pass

def make(*chunks):
    pipe = Pipe(*chunks)
    return pipe, wsgi.Input(wsgi.Body(pipe, None), 64 << 10)

tracemalloc.start()
pipe, body = make(b"x" * 1000)
assert body.read(64 << 20) == b"x" * 1000
pipe, body = make(b"some", b"more")
assert body.read() == b"somemore" and body.read() == b""
pipe, body = make()
assert body.read(10) == b""
tracemalloc.stop()

pipe, body = make(b"one\ntwo", b"three")
assert body.read(0) == b"" and pipe.taken == 0
assert body.readline() == b"one\n" and pipe.taken == 1
assert body.read(3) == b"two" and pipe.taken == 1, "what has come was not waited for"
assert body.read(2) == b"th" and body.read(None) == b"ree"
body.close()
taken = pipe.taken
try:
    body.read(1)
    assert False
except ValueError:
    assert pipe.taken == taken
`)
}

// runThreads runs a script in the child's language, with a pool of two threads that has no
// worker.
func runThreads(t *testing.T, script string) {
	t.Helper()
	runRunner(t, `
from _chaussette import pipe, threads

class Socket:
    send = recv = None

class Host:
    run = None
    pipe = pipe.Pipe(Socket(), None, None, 0, 0, 0)

pool = threads.Threads(Host, 2, -1)
`+script)
}

// runRunner runs a script in the child's language that imports the runner's modules.
func runRunner(t *testing.T, script string) {
	t.Helper()
	script = `
import sys, types
package = types.ModuleType("_chaussette")
package.__path__ = ["runner"]
sys.modules["_chaussette"] = package
` + script
	if out, err := exec.Command(interpreter, "-B", "-c", script).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
