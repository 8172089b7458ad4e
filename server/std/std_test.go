package std_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaussette/chaussette/server/limits"
	"github.com/chaussette/chaussette/server/std"
)

// patience bounds what a test waits for that must happen.
const patience = 20 * time.Second

// logBuffer is a log that a test reads while the engine writes it.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// served is an engine that serves a handler.
type served struct {
	*std.Engine
	addr    string
	connect func() (net.Conn, error)
	log     *logBuffer
	stop    func() // accepting
}

// serve starts an engine on loopback, and ends it with the test.
func serve(t *testing.T, app http.HandlerFunc, o std.Options) *served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	return serveOn(t, l, func() (net.Conn, error) { return net.Dial("tcp", addr) }, app, o)
}

// serveInMemory is serve for a test in a bubble (package synctest), whose clock stands
// still while anybody has something to do: a machine that is slow changes nothing.
func serveInMemory(t *testing.T, app http.HandlerFunc, o std.Options) *served {
	t.Helper()
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	return serveOn(t, l, l.connect, app, o)
}

// pipes is a listener for connections in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	close  sync.Once
}

func (p *pipes) connect() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.close.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "pipe"} }

func serveOn(t *testing.T, l net.Listener, connect func() (net.Conn, error), app http.HandlerFunc, o std.Options) *served {
	t.Helper()
	log := &logBuffer{}
	o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	e := std.New(app, &o)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := e.Serve(l); err != nil {
			t.Errorf("Serve = %v", err)
		}
	}()
	t.Cleanup(func() {
		_ = e.Close()
		<-ended
		if t.Failed() {
			t.Logf("log:\n%s", log)
		}
	})
	return &served{Engine: e, addr: l.Addr().String(), connect: connect, log: log, stop: func() { _ = l.Close(); <-ended }}
}

// client is a connection that a test writes bytes to.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (s *served) dial(t *testing.T) *client {
	t.Helper()
	c, err := s.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{t, c, bufio.NewReader(c)}
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

// closed waits for the server to close.
func (c *client) closed() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); isTimeout(err) {
		c.t.Fatalf("the connection is still open; it sent %q", rest)
	}
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

func TestBadInput(t *testing.T) {
	const host = "Host: x\r\n"
	for _, c := range []struct {
		name   string
		send   string
		status int
		open   bool // the connection serves the next request
		log    string
	}{
		{name: "slow headers", send: "GET / HTTP/1.1\r\nHost: x", status: 408, log: "headers did not arrive"},
		{name: "slow request line", send: "GE", status: 408, log: "headers did not arrive"},
		{name: "a body that never comes", send: "POST / HTTP/1.1\r\n" + host + "Content-Length: 10\r\n\r\n12345", status: 408, log: "over its limit"},
		{name: "a chunk that never comes", send: "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n5\r\n12", status: 408},
		{name: "header too large", send: "GET / HTTP/1.1\r\n" + host + "X: " + strings.Repeat("x", 16<<10) + "\r\n\r\n", status: 431},
		{name: "request line too large", send: "GET /" + strings.Repeat("x", 16<<10) + " HTTP/1.1\r\n" + host + "\r\n", status: 431},
		{name: "body announced too large", send: "POST / HTTP/1.1\r\n" + host + "Content-Length: 101\r\n\r\n", status: 413, log: "over the limit"},
		{name: "body too large in chunks", send: "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n65\r\n" + strings.Repeat("x", 101) + "\r\n0\r\n\r\n", status: 413, log: "over its limit"},
		{name: "expecting a 100 for too much", send: "POST / HTTP/1.1\r\n" + host + "Expect: 100-continue\r\nContent-Length: 101\r\n\r\n", status: 413},
		{name: "chunk size is no number", send: "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\n12\r\n0\r\n\r\n", status: 500},
		{name: "chunk size negative", send: "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n-1\r\n12\r\n0\r\n\r\n", status: 500},
		{name: "chunk without its end", send: "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n2\r\n12345\r\n0\r\n\r\n", status: 500},
		{name: "unknown transfer coding", send: "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", status: 501},
		{name: "two content lengths", send: "POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n12", status: 400},
		{name: "content length signed", send: "POST / HTTP/1.1\r\n" + host + "Content-Length: +1\r\n\r\n1", status: 400},
		{name: "content length and transfer encoding", send: "POST / HTTP/1.1\r\n" + host + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", status: 200},
		{name: "no host", send: "GET / HTTP/1.1\r\n\r\n", status: 400},
		{name: "two hosts", send: "GET / HTTP/1.1\r\n" + host + host + "\r\n", status: 400},
		{name: "space before the colon", send: "GET / HTTP/1.1\r\n" + host + "X : y\r\n\r\n", status: 400},
		{name: "folded header", send: "GET / HTTP/1.1\r\n" + host + " folded\r\n\r\n", status: 400},
		{name: "no HTTP at all", send: "\x16\x03\x01\x02\x00 is what a TLS client says\r\n\r\n", status: 400},
		{name: "HTTP of the future", send: "GET / HTTP/3.0\r\n" + host + "\r\n", status: 505},
		{name: "upgrade to something unknown", send: "GET / HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: smoke-signals\r\n\r\n", status: 200, open: true},
		{name: "HTTP/1.0", send: "GET / HTTP/1.0\r\n\r\n", status: 200},
		{name: "HTTP/1.0 with keep-alive", send: "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", status: 200, open: true},
	} {
		small := limits.Limits{HeaderSize: 4 << 10, BodySize: 100}
		test := func(t *testing.T, serve func(*testing.T, http.HandlerFunc, std.Options) *served) {
			s := serve(t, echo, std.Options{Limits: small})
			client := s.dial(t)
			client.send(c.send)
			if r, body := client.response("GET"); r.StatusCode != c.status {
				t.Fatalf("status %d (%q), want %d", r.StatusCode, body, c.status)
			}
			if c.open {
				client.send("GET /next HTTP/1.1\r\n" + host + "\r\n")
				if r, body := client.response("GET"); r.StatusCode != 200 || !strings.Contains(body, "/next") {
					t.Errorf("the next request got %d %q", r.StatusCode, body)
				}
			} else {
				client.closed()
			}
			if !strings.Contains(s.log.String(), c.log) {
				t.Errorf("the log has nothing of %q", c.log)
			}
		}
		t.Run(c.name, func(t *testing.T) {
			if c.status == http.StatusRequestTimeout {
				small.HeaderTimeout, small.BodyTimeout = time.Second, time.Second
				synctest.Test(t, func(t *testing.T) { test(t, serveInMemory) })
				return
			}
			test(t, serve)
		})
	}
}

// A connection on which nothing was begun is closed without a word: a 408 would be taken
// for the answer to the request that a client is about to send.
func TestIdleTimeout(t *testing.T) {
	s := serve(t, echo, std.Options{Limits: limits.Limits{IdleTimeout: 20 * time.Millisecond}})
	c := s.dial(t)
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	c.response("GET")
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		t.Errorf("after the idle time came %q, %v", rest, err)
	}
}

func TestPipelinedRequests(t *testing.T) {
	s := serve(t, echo, std.Options{})
	c := s.dial(t)
	c.send("POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab" +
		"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n" +
		"GET /3 HTTP/1.1\r\nHost: x\r\n\r\n")
	for _, want := range []string{`POST /1 "ab"`, `GET /2 ""`, `GET /3 ""`} {
		if _, body := c.response("GET"); body != want {
			t.Errorf("got %q, want %q", body, want)
		}
	}
}

// What net/http does with the rest of a body is bounded too: the app answered without
// reading it, and it never comes.
func TestUnreadBodyNeverComes(t *testing.T) {
	app := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "no need to read") }
	s := serve(t, app, std.Options{})
	c := s.dial(t)
	c.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
	if r, _ := c.response("POST"); r.StatusCode != 200 {
		t.Errorf("status %d", r.StatusCode)
	}
	c.closed()
}

// A client that closes after the answer sends its small body a moment after the headers;
// the app answers without reading it. Were the connection closed with the body unread,
// the client would see a broken pipe or a reset in place of the answer.
func TestUnreadBodyComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "no need to read") }
		s := serveInMemory(t, app, std.Options{})
		c := s.dial(t)
		c.send("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\n")
		time.Sleep(time.Second / 2)
		c.send("late")
		if r, body := c.response("POST"); r.StatusCode != 200 || body != "no need to read" {
			t.Errorf("got %d %q", r.StatusCode, body)
		}
		c.closed()
	})
}

// A slow upload that goes on is not a stuck one.
func TestSlowBodyThatGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveInMemory(t, echo, std.Options{Limits: limits.Limits{BodyTimeout: 200 * time.Millisecond}})
		c := s.dial(t)
		c.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
		for i := range 5 {
			time.Sleep(199 * time.Millisecond)
			c.send(string(rune('a' + i)))
		}
		if r, body := c.response("POST"); r.StatusCode != 200 || body != `POST / "abcde"` {
			t.Errorf("got %d %q", r.StatusCode, body)
		}
	})
}

func TestClientClosesHalfWay(t *testing.T) {
	result := make(chan error, 1)
	app := func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		result <- err
	}
	s := serve(t, app, std.Options{})
	c := s.dial(t)
	c.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
	_ = c.Close()
	if err := <-result; err == nil {
		t.Error("the app read half a body as a whole one")
	}
	idle, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.WaitIdle(idle); err != nil {
		t.Errorf("the connection is still counted: %v", err)
	}
}

func TestClientLeavesWhileTheAppRuns(t *testing.T) {
	running, left := make(chan bool), make(chan bool)
	app := func(_ http.ResponseWriter, r *http.Request) {
		running <- true
		<-r.Context().Done()
		left <- true
	}
	s := serve(t, app, std.Options{})
	c := s.dial(t)
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-running
	_ = c.Close()
	<-left
}

func TestPanic(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			_, _ = io.WriteString(w, "half of it")
			w.(http.Flusher).Flush()
		}
		panic("no reason")
	}
	s := serve(t, app, std.Options{})
	c := s.dial(t)
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if r, _ := c.response("GET"); r.StatusCode != 500 {
		t.Errorf("status %d", r.StatusCode)
	}
	if log := s.log.String(); !strings.Contains(log, "no reason") || !strings.Contains(log, "std_test.go") {
		t.Errorf("the log has not the panic and its stack:\n%s", log)
	}
	// Once the response has begun, the client must not take what it got for the whole.
	c = s.dial(t)
	c.send("GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
	r, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(r.Body); err == nil {
		t.Errorf("the broken response ended in order: %q", body)
	}
}

func TestAppWritesAfterItReturned(t *testing.T) {
	kept, late := make(chan http.ResponseWriter), make(chan error)
	app := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keep" {
			kept <- w
			return
		}
		_, _ = io.WriteString(w, "mine")
	}
	s := serve(t, app, std.Options{})
	go func() {
		w := <-kept
		c := s.dial(t) // and the app has returned when another request is answered
		c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		c.response("GET")
		w.WriteHeader(500)
		_, err := io.WriteString(w, "not mine")
		late <- err
	}()
	c := s.dial(t)
	c.send("GET /keep HTTP/1.1\r\nHost: x\r\n\r\n")
	if r, body := c.response("GET"); r.StatusCode != 200 || body != "" {
		t.Errorf("got %d %q", r.StatusCode, body)
	}
	if err := <-late; err == nil {
		t.Error("a late write went through")
	}
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, body := c.response("GET"); body != "mine" {
		t.Errorf("the next response is %q", body)
	}
	if !strings.Contains(s.log.String(), "after its handler has returned") {
		t.Error("the log says nothing of it")
	}
}

func TestMaxConnections(t *testing.T) {
	s := serve(t, echo, std.Options{Limits: limits.Limits{Connections: 2}})
	ask := func() (*client, int) {
		c := s.dial(t)
		c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		r, _ := c.response("GET")
		return c, r.StatusCode
	}
	first, code := ask()
	if _, second := ask(); code != 200 || second != 200 {
		t.Fatalf("the first two got %d and %d", code, second)
	}
	third, code := ask()
	if code != 503 {
		t.Errorf("the one too many got %d", code)
	}
	third.closed()
	_ = first.Close()
	for end := time.Now().Add(patience); ; { // until the server has noticed
		if _, code := ask(); code == 200 {
			break
		} else if time.Now().After(end) {
			t.Fatal("the place of a connection that ended was not free")
		}
	}
}

func TestDrain(t *testing.T) {
	running, finish := make(chan bool), make(chan bool)
	app := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			running <- true
			<-finish
		}
		_, _ = io.WriteString(w, "done")
	}
	s := serve(t, app, std.Options{})
	idle, slow := s.dial(t), s.dial(t)
	idle.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	idle.response("GET")
	slow.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	<-running

	s.stop()
	s.StartDraining()
	drained := make(chan error, 1)
	go func() { drained <- s.Drain(context.Background(), patience) }()

	// The idle connection is there for one request more.
	idle.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if r, body := idle.response("GET"); body != "done" || !r.Close {
		t.Errorf("while draining: %q, close %v", body, r.Close)
	}
	idle.closed()
	close(finish)
	if _, body := slow.response("GET"); body != "done" {
		t.Errorf("the running request got %q", body)
	}
	_ = slow.Close()
	if err := <-drained; err != nil {
		t.Errorf("Drain = %v", err)
	}
}

func TestDrainEndsInTime(t *testing.T) {
	running, ended := make(chan bool), make(chan bool)
	app := func(_ http.ResponseWriter, r *http.Request) {
		running <- true
		<-r.Context().Done()
		close(ended)
	}
	s := serve(t, app, std.Options{})
	c := s.dial(t)
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-running
	s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.Drain(ctx, 10*time.Millisecond); err == nil {
		t.Error("Drain has nothing to say of the request that it cut")
	}
	<-ended
	c.closed()
}

func TestAccessLog(t *testing.T) {
	var log logBuffer
	s := serve(t, echo, std.Options{AccessLog: slog.New(slog.NewTextHandler(&log, nil)), Limits: limits.Limits{BodySize: 10}})
	c := s.dial(t)
	c.send("POST /p?q=1 HTTP/1.1\r\nHost: x\r\nUser-Agent: test\r\nContent-Length: 2\r\n\r\nab")
	_, body := c.response("POST")
	c.send("POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n")
	c.response("POST")
	c.closed()
	for _, want := range []string{"method=POST", `uri="/p?q=1"`, "status=200", fmt.Sprintf("bytes=%d", len(body)), "user-agent=test",
		"uri=/large", "status=413"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in the access log:\n%s", want, log.String())
		}
	}
}
