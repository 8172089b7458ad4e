package webtest_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/chaussette/chaussette/webtest"
)

// A worker that is stopped (SIGSTOP) holds up nobody: the clients of the others hear one
// another as before. It is dropped when it has taken nothing for a while, and is one of
// them again when it goes on.
func TestSiblingStopped(t *testing.T) {
	const workers, clients = 3, 60
	pool := webtest.StartProgram(t, webtest.Parent, workers, webtest.Build(t, "./siblingsapp"), nil, "--backend", "socketio",
		"--socketio-ping-interval", "5s", "--socketio-ping-timeout", "20s")
	s := startSwarm(t, "http://"+pool.Addr.String(), clients)
	there := s.connect(clients)
	// One that has clients, and not all of them.
	var victim *webtest.Worker
	for _, w := range pool.Workers { // and each of the others has a dozen, or so
		if n := there.PIDs[fmt.Sprint(w.PID)]; n > 0 && n < clients {
			victim = w
		}
	}
	if victim == nil {
		t.Fatalf("all clients are on one worker: %v", there.PIDs)
	}
	usual := s.do("without 0 10 100")
	victim.Signal(syscall.SIGSTOP)
	defer victim.Signal(syscall.SIGCONT)
	// Enough to fill what the kernel keeps for it, and more after it was dropped.
	for _, emits := range []string{"20 40000", "20 100"} {
		r := s.do(fmt.Sprintf("without %d %s", victim.PID, emits))
		if r.Emitted != 20 || r.Missing > 0 {
			t.Errorf("of %d emits %d were missing", r.Emitted, r.Missing)
		}
		// It waits for nothing of the stopped one: not for the 5 s until that is dropped.
		if longest := time.Duration(r.Longest) * time.Millisecond; longest > 4*time.Second {
			t.Errorf("an emit took %v to reach all, and %d ms before one was stopped", longest, usual.Longest)
		}
		for _, w := range pool.Workers {
			if w != victim && there.PIDs[fmt.Sprint(w.PID)] > 0 {
				w.WaitLog(fmt.Sprintf("a sibling is dropped; it may come back .*pid=%d", victim.PID))
			}
		}
	}
	victim.Signal(syscall.SIGCONT)
	for _, w := range pool.Workers {
		if w != victim && there.PIDs[fmt.Sprint(w.PID)] > 0 {
			w.WaitLog(fmt.Sprintf("(?s)a sibling is dropped.*a sibling has joined .*pid=%d", victim.PID))
		}
	}
	for end := time.Now().Add(webtest.Patience); s.do("fewest").Count != workers-1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the workers do not meet again")
		}
	}
	if r := s.do("without 0 20 100"); r.Emitted != 20 || r.Missing > 0 {
		t.Errorf("of %d emits %d were missing after it went on", r.Emitted, r.Missing)
	}
	// A client that polls and came to another worker meanwhile has a new session. The old one
	// counts, and owes an answer to whom asks all, until it has missed a heartbeat.
	for end := time.Now().Add(2 * webtest.Patience); s.do("count").Count != clients; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("sessions stay that nobody has")
		}
	}
	if r := s.do("ask"); r.Count != clients || r.Answers != clients-1 || len(r.Siblings) != workers-1 {
		t.Errorf("%d sockets, %d answers, %d siblings", r.Count, r.Answers, len(r.Siblings))
	}
}
