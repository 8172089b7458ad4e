package enginetest

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/chaussette/chaussette/internal/logtest"
	"github.com/chaussette/chaussette/listener"
)

// patience bounds what a test waits for that must happen.
const patience = 20 * time.Second

// served is an engine that serves a handler on loopback.
type served struct {
	Engine
	addr string
	log  *logtest.Buffer
	stop func() // accepting
}

// serve starts an engine, and ends it with the test.
func (e engine) serve(t *testing.T, app http.HandlerFunc, o Options) *served {
	t.Helper()
	ls, err := listener.Open("127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	l := ls[0]
	log := &logtest.Buffer{}
	o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	run := e.open(t, app, o)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := run.Serve(l); err != nil {
			t.Errorf("Serve = %v", err)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
		if err := run.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", log)
		}
	})
	return &served{Engine: run, addr: l.Addr().String(), log: log, stop: func() { _ = l.Close(); <-ended }}
}

// client is a connection that a test writes bytes to.
type client struct {
	t *testing.T
	net.Conn
	r       *bufio.Reader
	version string // of the last answer
}

func (s *served) dial(t *testing.T) *client {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{t: t, Conn: c, r: bufio.NewReader(c)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// response reads one response with its body.
func (c *client) response(method string) (*http.Response, string) {
	c.t.Helper()
	r, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("response: %v", err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatalf("body: %v", err)
	}
	return r, string(body)
}

// closed waits for the server to close, without another word.
func (c *client) closed() {
	c.t.Helper()
	if rest := c.rest(); len(rest) > 0 {
		c.t.Errorf("before its end the connection sent %q", rest)
	}
}

// rest is what the server sends before it closes.
func (c *client) rest() []byte {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	if isTimeout(err) {
		c.t.Fatalf("the connection is still open; it sent %q", rest)
	}
	return rest
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// echo answers with what it was sent.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "%s %s %q", r.Method, r.URL.Path, body)
}
