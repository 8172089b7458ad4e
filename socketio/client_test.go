package socketio_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/socketio"
)

// client speaks Engine.IO 4 by polling, straight to a handler.
type client struct {
	t   testing.TB
	h   http.Handler
	sid string
	got []string // packets that were polled and not asked for
}

func open(t testing.TB, h http.Handler) *client {
	c := &client{t: t, h: h}
	var opened struct{ SID string }
	if err := json.Unmarshal([]byte(c.do("GET", "")[1:]), &opened); err != nil {
		t.Fatal(err)
	}
	c.sid = opened.SID
	return c
}

// connect opens a client and brings it into a namespace.
func connect(t testing.TB, h http.Handler, namespace string) *client {
	c := open(t, h)
	if namespace != "/" {
		namespace += ","
	} else {
		namespace = ""
	}
	c.send("40" + namespace)
	if p := c.next(); !strings.HasPrefix(p, "40") {
		t.Fatalf("%q to CONNECT", p)
	}
	return c
}

func (c *client) do(method, body string) string {
	url := "/socket.io/?EIO=4&transport=polling"
	if c.sid != "" {
		url += "&sid=" + c.sid
	}
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, httptest.NewRequestWithContext(c.t.Context(), method, url, strings.NewReader(body)))
	if w.Code != http.StatusOK {
		return "status " + http.StatusText(w.Code) + " " + w.Body.String()
	}
	return w.Body.String()
}

func (c *client) send(packets ...string) string { return c.do("POST", strings.Join(packets, "\x1e")) }

// next returns the next packet; pings are answered.
func (c *client) next() string {
	for {
		for len(c.got) > 0 {
			p := c.got[0]
			c.got = c.got[1:]
			if p != "2" {
				return p
			}
			c.send("3")
		}
		c.got = strings.Split(c.do("GET", ""), "\x1e")
	}
}

func (c *client) want(packets ...string) {
	c.t.Helper()
	for _, want := range packets {
		if got := c.next(); got != want {
			c.t.Errorf("got %q, want %q", got, want)
		}
	}
}

func newServer(t testing.TB, o *socketio.Options) *socketio.Server {
	io := socketio.NewServer(o)
	t.Cleanup(func() {
		if err := io.Close(); err != nil {
			t.Error(err)
		}
	})
	return io
}
