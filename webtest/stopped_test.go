package webtest_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
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
	poller := pollFrom(t, pool, victim)
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
	// What comes for one of its sessions now waits for it.
	poller.poll()
	victim.Signal(syscall.SIGCONT)
	if status, body := poller.answer(); status != http.StatusOK || !strings.HasPrefix(body, "40{") {
		t.Errorf("a poll that waited for the stopped worker was answered with %d %q", status, body)
	}
	poller.post(poller.kept, "1") // closes it
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
	// A client that polls and waited for more than ten seconds has a new session. The old one
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

// poller is a client on polling that has a connection to another worker than its session's.
type poller struct {
	t   *testing.T
	sid string
	*kept
}

// pollFrom opens a session on a worker, which has something for it already.
func pollFrom(t *testing.T, pool *webtest.Pool, owner *webtest.Worker) *poller {
	t.Helper()
	p := &poller{t: t}
	var tag string
	for _, w := range pool.Workers {
		if w != owner {
			w.WaitLog(fmt.Sprintf("a sibling has joined .*pid=%d", owner.PID))
			tag = regexp.MustCompile(fmt.Sprintf(`a sibling has joined sibling=(\S+) pid=%d`, owner.PID)).FindStringSubmatch(w.Log())[1]
		}
	}
	open := func() *kept { c := pool.Dial(); return &kept{c, bufio.NewReader(c)} }
	for end := time.Now().Add(webtest.Patience); p.sid == "" || p.kept == nil; {
		if time.Now().After(end) {
			t.Fatal("not every worker accepts connections")
		}
		k := open()
		_ = k.SetDeadline(end)
		if pid, err := k.ask(); err != nil {
			t.Fatal(err)
		} else if pid != owner.PID {
			p.kept = k
		} else if p.sid == "" {
			fmt.Fprint(k, "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: pool\r\n\r\n")
			_, body := p.read(k)
			if p.sid = regexp.MustCompile(`"sid":"([^"]*)"`).FindStringSubmatch(body)[1]; !strings.HasPrefix(p.sid, tag) {
				t.Fatalf("the session is %s, and the worker %s", p.sid, tag)
			}
			p.post(k, "40")
		}
	}
	_ = p.SetDeadline(time.Time{})
	return p
}

func (p *poller) post(k *kept, packet string) {
	p.t.Helper()
	fmt.Fprintf(k, "POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: pool\r\nContent-Length: %d\r\n\r\n%s", p.sid, len(packet), packet)
	if status, body := p.read(k); status != http.StatusOK {
		p.t.Errorf("a POST was answered with %d %q", status, body)
	}
}

func (p *poller) poll() {
	fmt.Fprintf(p, "GET /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: pool\r\n\r\n", p.sid)
}

func (p *poller) answer() (status int, body string) {
	_ = p.SetDeadline(time.Now().Add(webtest.Patience))
	return p.read(p.kept)
}

func (p *poller) read(k *kept) (status int, body string) {
	p.t.Helper()
	r, err := http.ReadResponse(k.in, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return r.StatusCode, string(b)
}
