package enginetest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/internal/logtest"
	"github.com/chaussette/chaussette/server/limits"
)

// A connection on which nothing was begun is closed without a word: a 408 would be taken
// for the answer to the request that a client is about to send.
func (e engine) testIdleTimeout(t *testing.T) {
	s := e.serve(t, echo, Options{Limits: limits.Limits{IdleTimeout: 20 * time.Millisecond}})
	c := s.dial(t)
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	c.response("GET")
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		t.Errorf("after the idle time came %q, %v", rest, err)
	}
}

func (e engine) testMaxConnections(t *testing.T) {
	s := e.serve(t, echo, Options{Limits: limits.Limits{Connections: 2}})
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

func (e engine) testDrain(t *testing.T) {
	running, finish := make(chan bool), make(chan bool)
	app := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			running <- true
			<-finish
		}
		_, _ = io.WriteString(w, "done")
	}
	s := e.serve(t, app, Options{})
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

func (e engine) testDrainEndsInTime(t *testing.T) {
	running, ended := make(chan bool), make(chan bool)
	app := func(_ http.ResponseWriter, r *http.Request) {
		running <- true
		<-r.Context().Done()
		close(ended)
	}
	s := e.serve(t, app, Options{})
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

func (e engine) testAccessLog(t *testing.T) {
	var log logtest.Buffer
	s := e.serve(t, echo, Options{AccessLog: slog.New(slog.NewTextHandler(&log, nil)), Limits: limits.Limits{BodySize: 10}})
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

// A client that takes nothing of its response is cut off, and the app is told.
func (e engine) testSendTimeout(t *testing.T) {
	result := make(chan error, 1)
	app := func(w http.ResponseWriter, _ *http.Request) {
		chunk := []byte(strings.Repeat("x", 1<<20))
		for {
			if _, err := w.Write(chunk); err != nil {
				result <- err
				return
			}
		}
	}
	s := e.serve(t, app, Options{Limits: limits.Limits{SendTimeout: 100 * time.Millisecond}})
	c := s.dial(t)
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	select {
	case <-result:
	case <-time.After(patience):
		t.Error("the app still writes to a client that reads nothing")
	}
}
