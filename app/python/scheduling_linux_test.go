package python_test

import (
	"sync"
	"testing"
	"time"

	"github.com/chaussette/chaussette/app/python"
)

// Threads of SCHED_BATCH are so while many requests wait, as long as naps end in time.
func TestScheduling(t *testing.T) {
	t.Parallel()
	runThreads(t, `
import os
from _chaussette import scheduling
it = scheduling.Scheduling()
it.add()
policy = lambda: os.sched_getscheduler(0)

assert policy() == os.SCHED_OTHER and it.until == scheduling.NEVER
it.napped(0.0001, 1.0)
assert policy() == os.SCHED_BATCH and it.until == 2.0
it.napped(0.0001, 1.5)
assert policy() == os.SCHED_BATCH and it.until == 2.5
it.end()
assert policy() == os.SCHED_OTHER and it.until == scheduling.NEVER

it.napped(0.0001, 3.0)
it.napped(0.005, 3.1)
assert policy() == os.SCHED_BATCH, "one nap that is late is none"
for i in range(5):
    it.napped(0.005, 3.2)
assert policy() == os.SCHED_OTHER, "the processors have other work"
it.napped(0.0001, 13.1)
assert policy() == os.SCHED_OTHER, "too soon"
it.napped(0.0001, 13.3)
assert policy() == os.SCHED_BATCH
it.napped(0.005, 13.4)
assert policy() == os.SCHED_BATCH, "what was before is forgotten"

it.end()
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
it = scheduling.Scheduling()
it.add()
it.napped(0.0001, 1.0)
assert policy() == os.SCHED_IDLE, "the operator has said so"

def refuse(*arguments):
    raise OSError("not here")
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
it = scheduling.Scheduling()
it.add()
os.sched_setscheduler = refuse
it.napped(0.0001, 1.0)
it.end()
it.napped(0.0001, 2.0)
assert it.until == scheduling.NEVER, "it was refused, and tried again"
os.sched_getscheduler = refuse
it = scheduling.Scheduling()
it.add()
it.napped(0.0001, 1.0)
assert it.until == scheduling.NEVER
`)
}

// The threads of a child are, and no longer than that.
func TestSchedulingOfAChild(t *testing.T) {
	t.Parallel()
	s := serve(t, "scheduling:app", python.Options{Mode: python.Threads, Threads: 32})
	ask := func() string {
		_, policy, _ := s.get("/")
		return policy
	}
	const other, batch = "0", "3" // sched.h
	if got := ask(); got != other {
		t.Fatalf("at first the policy is %s", got)
	}
	var clients sync.WaitGroup
	end := time.Now().Add(30 * time.Second)
	seen := make(chan struct{})
	var once sync.Once
	for range 32 {
		clients.Go(func() {
			for time.Now().Before(end) {
				select {
				case <-seen:
					return
				default:
				}
				if ask() == batch {
					once.Do(func() { close(seen) })
				}
			}
		})
	}
	clients.Wait()
	select {
	case <-seen:
	default:
		t.Error("many requests wait, and the threads preempt one another")
	}
	for ask() != other { // within a second
		if time.Now().After(end.Add(30 * time.Second)) {
			t.Fatal("few requests run, and the threads do not preempt others")
		}
	}
}
