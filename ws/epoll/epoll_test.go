//go:build linux

package epoll_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chaussette/chaussette/listener"
	"github.com/chaussette/chaussette/loop/http1"
	"github.com/chaussette/chaussette/server/limits"
	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/epoll"
	"github.com/chaussette/chaussette/ws/wstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newEngine(t testing.TB, config ws.Config) ws.Engine {
	e, err := epoll.New(&config, &epoll.Options{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestSuite(t *testing.T) { wstest.Run(t, newEngine, nil) }

// onLoops starts a server of package loop/http1 on the engine's loops.
func onLoops(t testing.TB, engine ws.Engine, app http.Handler) *wstest.Server {
	ls, err := listener.Open("127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	s := http1.On(engine.(*epoll.Engine).Loops(), &http1.Options{
		Handler: app,
		Context: ws.WithEngine(context.Background(), engine),
		Limits:  limits.Limits{HeaderTimeout: 300 * time.Millisecond},
		Log:     slog.New(slog.DiscardHandler),
	})
	served := make(chan struct{})
	go func() { defer close(served); _ = s.Serve(ls[0]) }()
	t.Cleanup(func() {
		_ = ls.Close()
		<-served
		if err := s.Close(); err != nil {
			t.Errorf("close the server: %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), wstest.Patience)
		defer cancel()
		if err := engine.Close(ctx); err != nil {
			t.Errorf("close the engine: %v", err)
		}
	})
	return &wstest.Server{Engine: engine, Address: ls[0].Addr().String()}
}

// TestOnLoops runs the suite with handshakes on the loops as well.
func TestOnLoops(t *testing.T) { wstest.Run(t, newEngine, onLoops) }

// A connection serves pages before it is a WebSocket.
func TestPages(t *testing.T) {
	server := onLoops(t, newEngine(t, ws.Config{}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !ws.IsUpgrade(r):
			io.WriteString(w, "page")
		case r.URL.Path == "/":
			ws.Serve(w, r, nil, wstest.Echo{})
		default:
			http.NotFound(w, r)
		}
	}))
	for i := range 20 {
		c := wstest.Dial(t, server.Address, wstest.Handshake{})
		c.Frames(wstest.F(wstest.Text, "x"))
		c.Expect(wstest.F(wstest.Text, "x"))
		if i%2 == 0 {
			c.Bye()
		}
		refused := wstest.DialRaw(t, server.Address, wstest.Handshake{Path: "/elsewhere"})
		if body, _ := io.ReadAll(refused.Response.Body); refused.Response.StatusCode != http.StatusNotFound || len(body) == 0 {
			t.Errorf("got %s, %q", refused.Response.Status, body)
		}
		r, err := http.Get("http://" + server.Address)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(r.Body); string(body) != "page" {
			t.Errorf("got %q", body)
		}
		r.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
}

// A handshake that does not come to its end is answered and closed.
func TestHalfOpen(t *testing.T) {
	server := onLoops(t, newEngine(t, ws.Config{}), wstest.EchoApp(false))
	c := dial(t, server.Address)
	c.Send(wstest.Handshake{}.Request(server.Address)[:40])
	silent := dial(t, server.Address)
	if answer, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
		t.Errorf("got %q, %v", answer, err)
	}
	if answer, err := io.ReadAll(silent); err != nil || len(answer) > 0 {
		t.Errorf("to silence: %q, %v", answer, err)
	}
}

func dial(t *testing.T, address string) *wstest.Client {
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetReadDeadline(time.Now().Add(wstest.Patience))
	return wstest.NewClient(t, nc)
}
