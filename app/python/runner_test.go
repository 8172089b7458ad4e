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
	script := `
import sys, types
package = types.ModuleType("_chaussette")
package.__path__ = ["runner"]
sys.modules["_chaussette"] = package
from _chaussette import pipe, threads

class Socket:
    send = None
    def recv(self, size):
        raise SystemExit("a thread reads after the end")

class Host:
    run = None
    pipe = pipe.Pipe(Socket(), None, None, 0, 0)

class Lead:
    """The leader before gives it away, and has read that it is over."""
    def acquire(self, wait):
        Host.pipe.stopping = True
        return True
    def release(self):
        pass

pool = threads.Threads(Host, 2, -1)
pool.lead = Lead()
pool.work()
`
	if out, err := exec.Command(interpreter, "-B", "-c", script).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
