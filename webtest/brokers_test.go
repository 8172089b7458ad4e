package webtest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/socketio/adapter/adaptertest"
	"github.com/chaussette/chaussette/webtest"
)

// interop is what interop.js answers.
type interop struct {
	Servers, Acted, Problems          []string
	Emitted, During, Missing, Doubled int
}

func (s *script) do(command string) (r interop) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.stdin, command); err != nil {
		s.t.Fatal(err)
	}
	line := s.line()
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		s.t.Fatalf("%s: %v", line, err)
	}
	s.t.Logf("%s: %s", command, line)
	return r
}

// federation is servers that share a broker: two of ours on one socket, one on a socket of
// its own, as on another machine, and one of Node if the broker is Redis.
func federation(t *testing.T, broker *adaptertest.Broker, format string) (clients *script, pools []*webtest.Pool, servers int) {
	t.Helper()
	url := broker.URL
	if format == "sharded" {
		url += "?sharded=1"
	}
	program := webtest.Build(t, "./brokersapp")
	args := []string{"--backend", "socketio", "--adapter", url, "--ws-deflate", "stateless"}
	pools = []*webtest.Pool{webtest.StartProgram(t, webtest.Parent, 2, program, nil, args...), webtest.StartProgram(t, webtest.Parent, 1, program, nil, args...)}
	urls := []string{"interop.js"}
	for _, p := range pools {
		urls = append(urls, "http://"+p.Addr.String())
	}
	servers = 3
	if strings.HasPrefix(broker.URL, "redis:") {
		urls = append(urls, startScript(t, "brokers", "server.js", broker.URL, format).line())
		servers++
	}
	return startScript(t, "brokers", urls...), pools, servers
}

// brokerFormats are those that servers share rooms by.
var brokerFormats = []struct {
	name, format string
	start        func(testing.TB) *adaptertest.Broker
}{
	{"Redis", "classic", adaptertest.StartRedis},
	{"Redis sharded", "sharded", adaptertest.StartRedis},
	{"NATS", "nats", adaptertest.StartNATS},
}

// What a client of one server does reaches the clients of all: broadcasts, acks, requests,
// and what servers say to one another, in every direction.
func TestBrokers(t *testing.T) {
	for _, b := range brokerFormats {
		t.Run(b.name, func(t *testing.T) {
			broker := b.start(t)
			clients, _, servers := federation(t, broker, b.format)
			r := clients.do("check " + b.format)
			if len(r.Problems) > 0 {
				t.Errorf("%d problems:\n%s", len(r.Problems), strings.Join(r.Problems, "\n"))
			}
			if len(r.Servers) != servers || len(r.Acted) < servers-1 { // which of two siblings clients come to is the kernel's to say
				t.Errorf("%d servers know of one another, and %d had clients: %v, %v", len(r.Servers), len(r.Acted), r.Servers, r.Acted)
			}
			if slices.Contains(r.Acted, "node") != (b.format != "nats") {
				t.Errorf("Node's server is not among %v", r.Acted)
			}
			if b.format != "classic" {
				return
			}
			if r := clients.do("emitter " + broker.URL); len(r.Problems) > 0 {
				t.Errorf("%d problems with Node's emitter:\n%s", len(r.Problems), strings.Join(r.Problems, "\n"))
			}
		})
	}
}

// A broker that is restarted under load costs what is emitted meanwhile, on other
// machines; nothing else, and nothing comes twice.
func TestBrokerRestarted(t *testing.T) {
	for _, b := range brokerFormats {
		t.Run(b.name, func(t *testing.T) {
			broker := b.start(t)
			clients, pools, _ := federation(t, broker, b.format)
			clients.do("check " + b.format)
			clients.do("begin")
			for range 3 {
				clients.do("away")
				broker.Stop()
				for _, p := range pools {
					for _, w := range p.Workers {
						w.WaitLog("is away")
					}
				}
				broker.Start()
				clients.do("back")
			}
			r := clients.do("end")
			if r.Emitted-r.During < 300 || r.During == 0 || r.Missing > 0 || r.Doubled > 0 {
				t.Errorf("of %d emits, %d while the broker was away, %d were missing and %d doubled at clients", r.Emitted, r.During, r.Missing, r.Doubled)
			}
			for _, p := range pools {
				for _, w := range p.Workers {
					w.WaitLog("is back")
				}
			}
		})
	}
}
