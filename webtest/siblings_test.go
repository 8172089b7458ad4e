package webtest_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/chaussette/chaussette/webtest"
)

// swarm is clients/siblings.js with many clients.
type swarm struct{ *script }

// result is what siblings.js answers.
type result struct {
	Connected, Errors                int
	PIDs                             map[string]int
	Emitted, Tried, Missing, Doubled int
	Away, NotRecovered, Longest      int
	Count, Answers                   int
	Siblings                         []int

	Received           int
	Of                 []int
	Certain, Uncertain []string
}

func startSwarm(t *testing.T, url string, clients int, more ...string) *swarm {
	t.Helper()
	return &swarm{startScript(t, "clients", append([]string{"siblings.js", url, fmt.Sprint(clients)}, more...)...)}
}

func (s *swarm) do(command string) (r result) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.stdin, command); err != nil {
		s.t.Fatal(err)
	}
	line := s.line()
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		s.t.Fatalf("%s: %v", line, err)
	}
	s.t.Logf("%.40s: %.300s", command, line)
	return r
}

// connect connects all clients, whose polls come to whichever worker.
func (s *swarm) connect(n int) result {
	s.t.Helper()
	r := s.do("connect")
	if r.Connected != n || r.Errors > 0 {
		s.t.Errorf("%d clients connected with %d errors", r.Connected, r.Errors)
	}
	return r
}

// exact checks that each emit has reached every client, once.
func (s *swarm) exact(r result) {
	s.t.Helper()
	if r.Emitted == 0 || r.Missing > 0 || r.Doubled > 0 || r.Errors > 0 {
		s.t.Errorf("of %d emits, %d were missing at clients, %d doubled; %d errors", r.Emitted, r.Missing, r.Doubled, r.Errors)
	}
}

// Workers on one socket are one server: no client notices which of them it reaches.
func TestSiblings(t *testing.T) {
	for _, m := range []webtest.Manager{webtest.Circus, webtest.Supervisor, webtest.Systemd, webtest.Parent} {
		t.Run(m.String(), func(t *testing.T) {
			const workers, clients = 4, 40
			pool := webtest.StartProgram(t, m, workers, webtest.Build(t, "./siblingsapp"), nil, "--backend", "socketio")
			s := startSwarm(t, "http://"+pool.Addr.String(), clients)
			r := s.connect(clients)
			if len(r.PIDs) < 2 { // who gets how many is the kernel's to say
				t.Errorf("all clients are on one worker: %v", r.PIDs)
			}
			s.exact(s.do("emit 50"))
			if r := s.do("ask"); r.Count != clients || r.Answers != clients-1 || len(r.Siblings) != workers-1 {
				t.Errorf("%d sockets, %d answers, %d siblings", r.Count, r.Answers, len(r.Siblings))
			}
		})
	}
}
