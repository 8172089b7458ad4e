package enginetest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/server/limits"
)

// What net/http does with the rest of a body is bounded too: the app answered without
// reading it, and it never comes.
func (e engine) testUnreadBodyNeverComes(t *testing.T) {
	app := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "no need to read") }
	s := e.serve(t, app, Options{})
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
func (e engine) testUnreadBodyComesLate(t *testing.T) {
	answered := make(chan bool, 1)
	app := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "no need to read")
		answered <- true
	}
	s := e.serve(t, app, Options{})
	c := s.dial(t)
	c.send("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\n")
	<-answered
	c.send("late")
	if r, body := c.response("POST"); r.StatusCode != 200 || body != "no need to read" {
		t.Errorf("got %d %q", r.StatusCode, body)
	}
	c.closed()
}

// A slow upload that goes on is not a stuck one.
func (e engine) testSlowBodyThatGoesOn(t *testing.T) {
	received := make(chan string)
	app := func(_ http.ResponseWriter, r *http.Request) {
		for b := make([]byte, 1); ; {
			n, err := r.Body.Read(b)
			if n > 0 {
				received <- string(b[:n])
			}
			if err != nil {
				close(received)
				return
			}
		}
	}
	s := e.serve(t, app, Options{Limits: limits.Limits{BodyTimeout: 2 * time.Second}})
	c := s.dial(t)
	c.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
	got := ""
	for i := range 5 {
		<-time.After(500 * time.Millisecond) // 2.5 s in all, of 2 allowed without progress
		c.send(string(rune('a' + i)))
		got += <-received
	}
	if _, more := <-received; more || got != "abcde" {
		t.Errorf("the app read %q", got)
	}
	if r, _ := c.response("POST"); r.StatusCode != 200 {
		t.Errorf("status %d", r.StatusCode)
	}
}

func (e engine) testClientClosesHalfWay(t *testing.T) {
	result := make(chan error, 1)
	app := func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		result <- err
	}
	s := e.serve(t, app, Options{})
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

// Large bodies in a row: some of one is read while the one before is answered, and what comes
// behind it meanwhile is its own.
func (e engine) testPipelinedBodies(t *testing.T) {
	const size, count = 100_000, 50
	app := func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	}
	s := e.serve(t, app, Options{})
	c := s.dial(t)
	request := post("/", fmt.Sprintf("Content-Length: %d", size), strings.Repeat("x", size))
	go func() { _, _ = io.WriteString(c.Conn, strings.Repeat(request, count)) }() // it fails with the test
	for i := range count {
		if r, body := c.response("POST"); r.StatusCode != 200 || body != fmt.Sprintf("%d <nil>", size) {
			t.Fatalf("the request %d: %d %q", i, r.StatusCode, body)
		}
	}
}
