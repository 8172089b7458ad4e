package nats_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gonats "github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/chaussette/chaussette/internal/logtest"
	"github.com/chaussette/chaussette/listener/siblings"
	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/adaptertest"
	"github.com/chaussette/chaussette/socketio/adapter/nats"
	adaptersiblings "github.com/chaussette/chaussette/socketio/adapter/siblings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, url string, o *nats.Options) *nats.Broker {
	t.Helper()
	if o == nil {
		o = &nats.Options{}
	}
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	b, err := nats.Open(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func TestSuite(t *testing.T) {
	t.Parallel()
	server := adaptertest.StartNATS(t)
	adaptertest.Run(t, adaptertest.Patience/3, func(t *testing.T) *adaptertest.Cluster {
		var all []*nats.Broker
		for range 3 {
			all = append(all, open(t, server.URL, nil))
		}
		return adaptertest.JoinBy(t, "/", all...)
	})
}

// Of three workers two are siblings: they reach one another by their own way, and
// nothing arrives twice, or is counted twice.
func TestSuiteWithSiblings(t *testing.T) {
	for _, first := range []string{"sibling", "other machine"} {
		t.Run(first+" asks", func(t *testing.T) {
			t.Parallel()
			server := adaptertest.StartNATS(t)
			adaptertest.Run(t, adaptertest.Patience/3, func(t *testing.T) *adaptertest.Cluster {
				all := []*nats.Broker{open(t, server.URL+"?prefix=own.name", nil)}
				for _, h := range adaptertest.Hubs(t, 2) {
					all = append(all, open(t, server.URL+"?prefix=own.name", &nats.Options{Siblings: h}))
				}
				if first == "sibling" {
					slices.Reverse(all)
				}
				return adaptertest.JoinBy(t, "/", all...)
			})
		})
	}
}

// While NATS is away, everything goes on on the machine; what does not reach others is
// counted, and a request says that it is not complete. Then all is as before.
func TestOutage(t *testing.T) {
	server := adaptertest.StartNATS(t)
	all := []*nats.Broker{open(t, server.URL, nil)}
	for _, h := range adaptertest.Hubs(t, 2) {
		all = append(all, open(t, server.URL, &nats.Options{Siblings: h}))
	}
	c := adaptertest.JoinBy(t, "/", all...)
	far, first, second := c.Adapters[0], c.Adapters[1], c.Adapters[2]
	var sockets []*adaptertest.Socket
	for i, a := range c.Adapters {
		s := adaptertest.NewSocket(a, adapter.SocketID(fmt.Sprint("socket-", i)))
		a.Add(s)
		sockets = append(sockets, s)
	}
	adaptertest.Emit(t, first, "before")
	for _, s := range sockets {
		adaptertest.Eventually(t, "delivered before", func() bool { return s.Got("before") })
	}

	server.Stop()
	for _, b := range all {
		adaptertest.Eventually(t, "noticed", func() bool { return !b.Connected() })
	}
	before := all[1].Lost()
	for i := range 100 {
		adaptertest.Emit(t, first, fmt.Sprint("during ", i))
	}
	if lost := all[1].Lost() - before; lost != 100 {
		t.Errorf("%d of 100 emits are counted as lost", lost)
	}
	if !sockets[1].Got("during 99") {
		t.Error("a local client has not got what was emitted meanwhile")
	}
	adaptertest.Eventually(t, "delivered to the sibling", func() bool { return sockets[2].Got("during 99") })
	begin := time.Now()
	found, err := second.Fetch(t.Context(), adapter.Opts{})
	if len(found) != 2 || !errors.Is(err, adapter.ErrPartial) {
		t.Errorf("%d sockets, %v", len(found), err)
	}
	if answers, err := first.ServerSideEmitAck(t.Context(), []byte(`["x"]`)); len(answers) != 1 || !errors.Is(err, adapter.ErrPartial) {
		t.Errorf("%d answers, %v", len(answers), err)
	}
	if d := time.Since(begin); d > adaptertest.Patience/4 {
		t.Errorf("requests took %v", d)
	}

	server.Start()
	adaptertest.Ready(t, all...)
	for _, a := range c.Adapters {
		adaptertest.Workers(t, a, 3)
	}
	adaptertest.Emit(t, far, "after")
	for _, s := range sockets {
		adaptertest.Eventually(t, "delivered after", func() bool { return s.Got("after") })
	}
	if found, err := first.Fetch(t.Context(), adapter.Opts{}); len(found) != 3 || err != nil {
		t.Errorf("%d sockets, %v", len(found), err)
	}
	if sockets[0].Got("during 99") {
		t.Error("what was lost came later")
	}
}

// A worker may start before its broker.
func TestStartsBefore(t *testing.T) {
	server := adaptertest.StartNATS(t)
	server.Stop()
	all := []*nats.Broker{open(t, server.URL, nil), open(t, server.URL, nil)}
	var adapters []adapter.Adapter
	for _, b := range all {
		a, err := b.Factory("/", &adaptertest.Handler{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = a.Close() })
		adapters = append(adapters, a)
	}
	s := adaptertest.NewSocket(adapters[1], "s")
	adapters[1].Add(s)
	adaptertest.Emit(t, adapters[1], "alone")
	if !s.Got("alone") {
		t.Error("a local client is not served")
	}
	server.Start()
	for _, a := range adapters {
		adaptertest.Workers(t, a, 2)
	}
	adaptertest.Emit(t, adapters[0], "together")
	adaptertest.Eventually(t, "delivered", func() bool { return s.Got("together") })
}

// A worker that is not heard of any more has gone; one that closes its namespace has at
// once.
func TestGone(t *testing.T) {
	server := adaptertest.StartNATS(t)
	patient := open(t, server.URL, &nats.Options{Heartbeat: 100 * time.Millisecond})
	other := open(t, server.URL, nil)
	mute := open(t, server.URL, &nats.Options{Heartbeat: time.Hour})
	c := adaptertest.JoinBy(t, "/", patient, other, mute)
	if err := c.Adapters[1].Close(); err != nil {
		t.Fatal(err)
	}
	adaptertest.Workers(t, c.Adapters[2], 2)
	adaptertest.Workers(t, c.Adapters[0], 1)
}

// A message that is larger than NATS takes is an error, and the next one is sent.
func TestTooLarge(t *testing.T) {
	server := adaptertest.StartNATS(t)
	all := []*nats.Broker{open(t, server.URL, nil), open(t, server.URL, nil)}
	c := adaptertest.JoinBy(t, "/", all...)
	s := adaptertest.NewSocket(c.Adapters[1], "s")
	c.Adapters[1].Add(s)
	if err := c.Adapters[0].Broadcast(adaptertest.Event(strings.Repeat("x", 2<<20)), adapter.Opts{}); !errors.Is(err, gonats.ErrMaxPayload) {
		t.Error(err)
	}
	adaptertest.Emit(t, c.Adapters[0], "small")
	adaptertest.Eventually(t, "delivered", func() bool { return s.Got("small") })
	if all[0].Lost() != 1 {
		t.Errorf("%d emits are counted as lost", all[0].Lost())
	}
}

// Namespaces do not hear one another, whatever they are called.
func TestNamespaces(t *testing.T) {
	server := adaptertest.StartNATS(t)
	all := []*nats.Broker{open(t, server.URL, nil), open(t, server.URL, nil)}
	var sockets []*adaptertest.Socket
	var first []adapter.Adapter
	for i, name := range []string{"/", "/*", "/>", "/a.b", "/ "} {
		c := adaptertest.JoinBy(t, name, all...)
		s := adaptertest.NewSocket(c.Adapters[1], adapter.SocketID(fmt.Sprint(i)))
		c.Adapters[1].Add(s)
		first, sockets = append(first, c.Adapters[0]), append(sockets, s)
	}
	for i, a := range first {
		adaptertest.Emit(t, a, fmt.Sprint("to ", i))
	}
	for i, s := range sockets {
		adaptertest.Eventually(t, "delivered", func() bool { return len(s.Events()) > 0 })
		if events := s.Events(); len(events) != 1 || events[0] != fmt.Sprintf(`["to %d"]`, i) {
			t.Errorf("namespace %d got %q", i, events)
		}
	}
}

// What comes from NATS and makes no sense is dropped and counted, and harms nobody.
func TestNonsense(t *testing.T) {
	server := adaptertest.StartNATS(t)
	all := []*nats.Broker{open(t, server.URL, nil), open(t, server.URL, nil)}
	c := adaptertest.JoinBy(t, "/", all...)
	s := adaptertest.NewSocket(c.Adapters[0], "s")
	c.Adapters[0].Add(s)
	conn, err := gonats.Connect(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	n := uint64(0)
	for _, payload := range nats.Nonsense {
		for _, subject := range []string{"socketio.Lw.all", "socketio.beat"} {
			if err := conn.Publish(subject, []byte(payload)); err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	adaptertest.Eventually(t, "dropped", func() bool { return all[0].Dropped() >= n })
	adaptertest.Emit(t, c.Adapters[1], "after")
	adaptertest.Eventually(t, "delivered after", func() bool { return s.Got("after") })
	if events := s.Events(); len(events) != 1 {
		t.Errorf("nonsense was delivered: %q", events)
	}
}

// The log knows of an outage, and what it has cost.
func TestLog(t *testing.T) {
	server := adaptertest.StartNATS(t)
	var log logtest.Buffer
	b, err := nats.Open(server.URL, &nats.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	adaptertest.Eventually(t, "connected", func() bool { return strings.Contains(log.String(), "nats is reached") })
	server.Stop()
	adaptertest.Eventually(t, "away", func() bool { return strings.Contains(log.String(), "nats is away") })
	server.Start()
	adaptertest.Eventually(t, "back", func() bool { return strings.Contains(log.String(), "nats is back") })
}

// Nothing says who is still to answer: a worker waits for those who are late only if it must.
func TestSettle(t *testing.T) {
	for late, want := range map[bool]time.Duration{false: 250 * time.Millisecond, true: 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			nats.Settle(t.Context(), late)
			if d := time.Since(begin); d != want {
				t.Errorf("it took %v, want %v", d, want)
			}
			ended, end := context.WithCancel(t.Context())
			end()
			begin = time.Now()
			nats.Settle(ended, late)
			if d := time.Since(begin); d != 0 {
				t.Errorf("it took %v when nobody waits any more", d)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for address, ok := range map[string]bool{
		"nats://127.0.0.1": true, "nats://u:p@a:4222,nats://b:4222?prefix=x.y": true, "tls://a?creds=/f": true,
		"nats://": false, "redis://a": false, "nats://a?prefix=": false, "nats://a?prefix=a%20b": false, "nats://a?other=1": false, "nats://a:b:c": false,
	} {
		if err := nats.Check(address); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range nats.Nonsense {
		f.Add([]byte(s))
	}
	f.Add(nats.Encode(5, "name", []string{"a", "b"}, []byte("body")))
	f.Fuzz(func(t *testing.T, data []byte) {
		what, from, near, body, err := nats.Decode(data)
		if err != nil {
			return
		}
		again := nats.Encode(what, from, near, body)
		what2, from2, near2, body2, err := nats.Decode(again)
		if err != nil || what2 != what || from2 != from || !slices.Equal(near2, near) || !bytes.Equal(body2, body) {
			t.Errorf("%q became %q, %v", data, again, err)
		}
	})
}

// Clients that come back to whatever worker, while workers are replaced, have every event
// once: on several machines, and on one whose workers are siblings as well.
func TestRecovery(t *testing.T) {
	for _, way := range []string{"machines", "siblings"} {
		t.Run(way, func(t *testing.T) {
			servers, bases := map[string]*adaptertest.Broker{}, map[string]string{} // of each seed
			adaptertest.RunRecovery(t, 2*adaptertest.Patience, 3, func(t *testing.T) *adaptertest.Recovering {
				if bases[t.Name()] == "" {
					bases[t.Name()], servers[t.Name()] = t.TempDir(), adaptertest.StartNATS(t)
				}
				o := &nats.Options{Recovery: &adapter.Recovery{}}
				var s *siblings.Siblings
				if way == "siblings" {
					var err error
					if s, err = siblings.Open(&siblings.Options{Key: "test", Base: bases[t.Name()]}); err != nil {
						t.Fatal(err)
					}
					o.Siblings = adaptersiblings.NewHub(s, nil)
				}
				b := open(t, servers[t.Name()].URL, o)
				a, err := b.Factory("/", &adaptertest.Handler{})
				if err != nil {
					t.Fatal(err)
				}
				if s != nil {
					if err := s.Start(); err != nil {
						t.Fatal(err)
					}
				}
				adaptertest.Ready(t, b)
				leave := func() {
					err := errors.Join(a.Close(), b.Close())
					if s != nil {
						err = errors.Join(err, s.Close())
					}
					if err != nil {
						t.Error(err)
					}
				}
				t.Cleanup(leave)
				return &adaptertest.Recovering{Adapter: a, Leave: leave}
			})
		})
	}
}
