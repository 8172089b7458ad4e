package redis_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/chaussette/chaussette/listener/siblings"
	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/adaptertest"
	"github.com/chaussette/chaussette/socketio/adapter/redis"
	adaptersiblings "github.com/chaussette/chaussette/socketio/adapter/siblings"
	"github.com/chaussette/chaussette/socketio/parser"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, url string, o *redis.Options) *redis.Broker {
	t.Helper()
	if o == nil {
		o = &redis.Options{}
	}
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	b, err := redis.Open(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// formats are what a URL may ask for.
var formats = []string{"", "?sharded=dynamic", "?sharded=static", "?sharded=dynamic-private&prefix=own"}

func TestSuite(t *testing.T) {
	for _, format := range formats {
		t.Run("machines"+format, func(t *testing.T) {
			t.Parallel()
			server := adaptertest.StartRedis(t)
			adaptertest.Run(t, adaptertest.Patience/3, func(t *testing.T) *adaptertest.Cluster {
				var all []*redis.Broker
				for range 3 {
					all = append(all, open(t, server.URL+format, nil))
				}
				return adaptertest.JoinBy(t, "/", all...)
			})
		})
	}
}

// Of three workers two are siblings: they reach one another by their own way, and
// nothing arrives twice, or is counted twice.
func TestSuiteWithSiblings(t *testing.T) {
	for _, format := range formats[:2] {
		for _, first := range []string{"sibling", "other machine"} {
			t.Run(first+" asks"+format, func(t *testing.T) {
				t.Parallel()
				server := adaptertest.StartRedis(t)
				adaptertest.Run(t, adaptertest.Patience/3, func(t *testing.T) *adaptertest.Cluster {
					all := []*redis.Broker{open(t, server.URL+format, nil)}
					for _, h := range adaptertest.Hubs(t, 2) {
						all = append(all, open(t, server.URL+format, &redis.Options{Siblings: h}))
					}
					if first == "sibling" {
						slices.Reverse(all)
					}
					return adaptertest.JoinBy(t, "/", all...)
				})
			})
		}
	}
}

// While Redis is away, everything goes on on the machine; what does not reach others is
// counted, and a request says that it is not complete. Then all is as before.
func TestOutage(t *testing.T) {
	server := adaptertest.StartRedis(t)
	for _, format := range formats[:2] {
		t.Run("outage"+format, func(t *testing.T) {
			all := []*redis.Broker{open(t, server.URL+format, nil)}
			for _, h := range adaptertest.Hubs(t, 2) {
				all = append(all, open(t, server.URL+format, &redis.Options{Siblings: h}))
			}
			c := adaptertest.JoinBy(t, "/", all...)
			far, first, second := c.Adapters[0], c.Adapters[1], c.Adapters[2]
			var sockets []*adaptertest.Socket
			for i, a := range c.Adapters {
				s := adaptertest.NewSocket(a, adapter.SocketID(fmt.Sprint("socket-", i)))
				a.Add(s)
				a.Join(s, "a")
				sockets = append(sockets, s)
			}
			adaptertest.Emit(t, first, "before")
			for _, s := range sockets {
				adaptertest.Eventually(t, "delivered before", func() bool { return s.Got("before") })
			}

			server.Stop()
			for _, a := range c.Adapters {
				adaptertest.Eventually(t, "noticed", func() bool { _, err := a.Workers(t.Context()); return errors.Is(err, adapter.ErrPartial) })
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
		})
	}
}

// What breaks off in the middle of a request ends it at once.
func TestInterrupted(t *testing.T) {
	server := adaptertest.StartRedis(t)
	c := adaptertest.JoinBy(t, "/", open(t, server.URL, &redis.Options{Timeout: time.Hour}), open(t, server.URL, nil))
	silent := adaptertest.NewSocket(c.Adapters[1], "silent") // answers nothing
	c.Adapters[1].Add(silent)
	ended := make(chan error)
	go func() {
		p := adaptertest.Event("?")
		p.HasID, p.ID = true, 1
		_, err := c.Adapters[0].BroadcastAck(t.Context(), p, adapter.Opts{}, func(parser.Raw) {})
		ended <- err
	}()
	adaptertest.Eventually(t, "asked", func() bool { return silent.Got("?") })
	server.Stop()
	select {
	case err := <-ended:
		if !errors.Is(err, adapter.ErrPartial) {
			t.Error(err)
		}
	case <-time.After(adaptertest.Patience):
		t.Error("it waits for answers that cannot come")
	}
}

// A worker may start before its broker.
func TestStartsBefore(t *testing.T) {
	server := adaptertest.StartRedis(t)
	server.Stop()
	all := []*redis.Broker{open(t, server.URL, nil), open(t, server.URL, nil)}
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
	adaptertest.Ready(t, all...)
	adaptertest.Emit(t, adapters[0], "together")
	adaptertest.Eventually(t, "delivered", func() bool { return s.Got("together") })
}

// Each worker has one connection for commands, and one for what it is subscribed to.
func TestConnections(t *testing.T) {
	server := adaptertest.StartRedis(t)
	c := adaptertest.JoinBy(t, "/", open(t, server.URL, nil), open(t, server.URL, nil))
	for range 100 {
		adaptertest.Emit(t, c.Adapters[0], "x")
		if _, err := c.Adapters[1].Fetch(t.Context(), adapter.Opts{}); err != nil {
			t.Error(err)
		}
	}
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer client.Close()
	list, err := client.ClientList(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(list, "name=chaussette "); n != 4 {
		t.Errorf("%d connections of two workers:\n%s", n, list)
	}
}

// Namespaces do not hear one another, whatever they are called; and one that is closed
// hears nothing.
func TestNamespaces(t *testing.T) {
	server := adaptertest.StartRedis(t)
	all := []*redis.Broker{open(t, server.URL, nil), open(t, server.URL, nil)}
	names := []string{"/", "/a", "/[a]", "/*", `/\`, "/a#b"}
	var sockets []*adaptertest.Socket
	var first []adapter.Adapter
	for i, name := range names {
		c := adaptertest.JoinBy(t, name, all...)
		s := adaptertest.NewSocket(c.Adapters[1], adapter.SocketID(fmt.Sprint(i)))
		c.Adapters[1].Add(s)
		first, sockets = append(first, c.Adapters[0]), append(sockets, s)
	}
	for i, a := range first {
		adaptertest.Emit(t, a, fmt.Sprint("to ", i))
	}
	for i, s := range sockets {
		adaptertest.Eventually(t, names[i], func() bool { return len(s.Events()) > 0 })
		if events := s.Events(); len(events) != 1 || events[0] != fmt.Sprintf(`["to %d"]`, i) {
			t.Errorf("%s got %q", names[i], events)
		}
	}
	if err := first[1].Close(); err != nil {
		t.Fatal(err)
	}
	adaptertest.Ready(t, all...)
}

// What comes from Redis and makes no sense is dropped and counted, and harms nobody.
func TestNonsense(t *testing.T) {
	server := adaptertest.StartRedis(t)
	for _, format := range formats[:2] {
		t.Run("nonsense"+format, func(t *testing.T) {
			all := []*redis.Broker{open(t, server.URL+format, nil), open(t, server.URL+format, nil)}
			c := adaptertest.JoinBy(t, "/", all...)
			s := adaptertest.NewSocket(c.Adapters[0], "s")
			c.Adapters[0].Add(s)
			client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
			defer client.Close()
			n := uint64(0)
			for _, payload := range nonsense {
				for _, channel := range []string{"socket.io#/#", "socket.io#/#s#", "socket.io-request#/#", "socket.io-response#/#"} {
					var err error
					if strings.Contains(format, "sharded") {
						err = client.SPublish(t.Context(), channel, payload).Err()
					} else {
						err = client.Publish(t.Context(), channel, payload).Err()
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				n++
			}
			adaptertest.Emit(t, c.Adapters[1], "after")
			adaptertest.Eventually(t, "delivered after", func() bool { return s.Got("after") })
			if dropped := all[0].Dropped(); dropped < n {
				t.Errorf("%d messages were dropped of at least %d", dropped, n)
			}
			if events := s.Events(); len(events) != 1 {
				t.Errorf("nonsense was delivered: %q", events)
			}
		})
	}
}

// nonsense is no message in any channel.
var nonsense = []string{
	"", "\x00", "\xc1", "{", "{}", `{"type":99999999999999999999}`, `{"type":"x"}`, "[]", "null", "\x90", "\x91\xa1x",
	"\x93\xa1x\x80\x80",                         // a packet without a type
	"\x93\xa1x\x82\xa4type\x02\xa4data\x01\x80", // data that is no array
	"\xdd\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff", strings.Repeat("\x91", 10_000), strings.Repeat("[", 100_000),
	`{"uid":"x","type":7,"requestId":1}`, `{"uid":"x","type":5,"opts":{"rooms":[{}]},"data":7}`,
	`{"uid":"x","nsp":"/","type":3,"data":{"opts":{"rooms":"a"},"packet":{"type":2,"data":["x"]}}}`,
	`{"uid":"x","nsp":"/","type":3,"data":{"opts":{"rooms":[]},"packet":{"type":2,"data":["connect"]}}}`,
	`{"uid":"x","nsp":"/","type":7,"data":{"opts":{}}}`,
}

// What a worker sends to its siblings and to other machines crosses the network once, and
// what is for one of its own sockets does not.
func TestOneCopy(t *testing.T) {
	server := adaptertest.StartRedis(t)
	all := []*redis.Broker{open(t, server.URL, nil)}
	for _, h := range adaptertest.Hubs(t, 2) {
		all = append(all, open(t, server.URL, &redis.Options{Siblings: h}))
	}
	c := adaptertest.JoinBy(t, "/", all...)
	var sockets []*adaptertest.Socket
	for i, a := range c.Adapters {
		s := adaptertest.NewSocket(a, adapter.SocketID(fmt.Sprint("socket-", i)))
		a.Add(s)
		sockets = append(sockets, s)
	}
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer client.Close()
	if err := client.ConfigResetStat(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	const n = 20
	for i := range n {
		adaptertest.Emit(t, c.Adapters[2], fmt.Sprint(i))
		if err := c.Adapters[2].Broadcast(adaptertest.Event("own"), adapter.Opts{Rooms: []adapter.Room{"socket-2"}}); err != nil {
			t.Error(err)
		}
	}
	for _, s := range sockets {
		adaptertest.Eventually(t, "delivered", func() bool { return s.Got(fmt.Sprint(n - 1)) })
	}
	info, err := client.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(info, fmt.Sprintf("cmdstat_publish:calls=%d,", n)) {
		t.Errorf("not %d messages:\n%s", n, info)
	}
	if events := sockets[1].Events(); len(events) != n {
		t.Errorf("the sibling has %d events", len(events))
	}
}

// Clients that come back to whatever sibling, while workers are replaced, have every event
// once.
func TestRecovery(t *testing.T) {
	for _, format := range formats[:2] {
		t.Run("siblings"+format, func(t *testing.T) {
			servers, bases := map[string]*adaptertest.Broker{}, map[string]string{} // of each seed
			adaptertest.RunRecovery(t, 2*adaptertest.Patience, 3, func(t *testing.T) *adaptertest.Recovering {
				if bases[t.Name()] == "" {
					bases[t.Name()], servers[t.Name()] = t.TempDir(), adaptertest.StartRedis(t)
				}
				s, err := siblings.Open(&siblings.Options{Key: "test", Base: bases[t.Name()]})
				if err != nil {
					t.Fatal(err)
				}
				b := open(t, servers[t.Name()].URL+format, &redis.Options{Siblings: adaptersiblings.NewHub(s, nil), Recovery: &adapter.Recovery{}})
				a, err := b.Factory("/", &adaptertest.Handler{})
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Start(); err != nil {
					t.Fatal(err)
				}
				adaptertest.Ready(t, b)
				leave := func() {
					if err := errors.Join(a.Close(), b.Close(), s.Close()); err != nil {
						t.Error(err)
					}
				}
				t.Cleanup(leave)
				return &adaptertest.Recovering{Adapter: a, Leave: leave}
			})
		})
	}
}
