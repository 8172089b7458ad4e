package enginetest

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func (e engine) testClientLeavesWhileTheAppRuns(t *testing.T) {
	running, left := make(chan bool), make(chan bool)
	app := func(_ http.ResponseWriter, r *http.Request) {
		running <- true
		<-r.Context().Done()
		left <- true
	}
	s := e.serve(t, app, Options{})
	c := s.dial(t)
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-running
	_ = c.Close()
	<-left
}

func (e engine) testPanic(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			_, _ = io.WriteString(w, "half of it")
			w.(http.Flusher).Flush()
		}
		panic("no reason")
	}
	s := e.serve(t, app, Options{})
	c := s.dial(t)
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if r, _ := c.response("GET"); r.StatusCode != 500 {
		t.Errorf("status %d", r.StatusCode)
	}
	if log := s.log.String(); !strings.Contains(log, "no reason") || !strings.Contains(log, "app.go") {
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

func (e engine) testAppWritesAfterItReturned(t *testing.T) {
	kept, late := make(chan http.ResponseWriter), make(chan error)
	app := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keep" {
			kept <- w
			return
		}
		_, _ = io.WriteString(w, "mine")
	}
	s := e.serve(t, app, Options{})
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
