//go:build linux

package epoll_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

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

// acceptor is a listener of descriptors.
type acceptor struct{ net.Listener }

func (a acceptor) AcceptFD() (int, error) {
	nc, err := a.Accept()
	if err != nil {
		return -1, err
	}
	defer nc.Close()
	f, err := nc.(*net.TCPConn).File()
	if err != nil {
		return -1, err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	return fd, unix.SetNonblock(fd, true)
}

// behind returns how to start a server behind a Front.
func behind(inline bool) wstest.Start {
	return func(t testing.TB, engine ws.Engine, app http.Handler) *wstest.Server {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		withEngine := ws.WithEngine(context.Background(), engine)
		front := engine.(*epoll.Engine).Front(acceptor{l}, app, &epoll.FrontOptions{
			Context: withEngine, Inline: func(*http.Request) bool { return inline }, HeaderTimeout: 300 * time.Millisecond,
		})
		s := &http.Server{Handler: app, BaseContext: func(net.Listener) context.Context { return withEngine }}
		served := make(chan struct{})
		go func() { defer close(served); s.Serve(front) }()
		t.Cleanup(func() {
			s.Close()
			<-served
			ctx, cancel := context.WithTimeout(context.Background(), wstest.Patience)
			defer cancel()
			if err := engine.Close(ctx); err != nil {
				t.Errorf("close the engine: %v", err)
			}
		})
		return &wstest.Server{Engine: engine, Address: l.Addr().String()}
	}
}

// TestFront runs the suite with handshakes on the loops, net/http behind them.
func TestFront(t *testing.T) { wstest.Run(t, newEngine, behind(false)) }

func TestFrontInline(t *testing.T) {
	server := behind(true)(t, newEngine(t, ws.Config{}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
		refused.ExpectEOF()
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
func TestFrontHalfOpen(t *testing.T) {
	server := behind(true)(t, newEngine(t, ws.Config{}), wstest.EchoApp(false))
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
