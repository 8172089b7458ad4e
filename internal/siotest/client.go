// Package siotest is a client of Socket.IO (protocol 5) for tests: Engine.IO 4 by long-polling,
// straight to a handler, without a network.
package siotest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Client is one session. Two goroutines may use it, where one polls and the other posts.
type Client struct {
	// SID is the session's, from the handshake.
	SID string

	t         testing.TB
	h         http.Handler
	got       []string // packets that were polled and not asked for
	connected bool     // to a namespace, whose packets come at any time
}

// Open does the handshake with h, which serves /socket.io/.
func Open(t testing.TB, h http.Handler) *Client {
	t.Helper()
	c := &Client{t: t, h: h}
	answer := c.Do(http.MethodGet, "")
	opened, ok := strings.CutPrefix(answer, "0")
	var handshake struct{ SID string }
	if !ok || json.Unmarshal([]byte(opened), &handshake) != nil || handshake.SID == "" {
		t.Fatalf("%q to the handshake", answer)
	}
	c.SID = handshake.SID
	return c
}

// Exchange makes one request of the session. header has names and values in turn.
func (c *Client) Exchange(method, body string, header ...string) *httptest.ResponseRecorder {
	url := "/socket.io/?EIO=4&transport=polling"
	if c.SID != "" {
		url += "&sid=" + c.SID
	}
	r := httptest.NewRequestWithContext(c.t.Context(), method, url, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r)
	return w
}

// Do returns the payload of an answer; of one that is not 200, its status and text.
func (c *Client) Do(method, body string) string {
	w := c.Exchange(method, body)
	if w.Code != http.StatusOK {
		return "status " + http.StatusText(w.Code) + " " + w.Body.String()
	}
	return w.Body.String()
}

// Post sends packets in one payload, and returns the answer: "ok", where they were taken.
func (c *Client) Post(packets ...string) string {
	return c.Do(http.MethodPost, strings.Join(packets, "\x1e"))
}

// Send is Post, and ends the test where the packets are not taken.
func (c *Client) Send(packets ...string) {
	c.t.Helper()
	if answer := c.Post(packets...); answer != "ok" {
		c.t.Fatalf("%q is answered %q", packets, answer)
	}
}

// Next returns the next packet, having polled for it. Pings are answered.
func (c *Client) Next() string {
	for {
		for len(c.got) > 0 {
			p := c.got[0]
			c.got = c.got[1:]
			if p != "2" {
				return p
			}
			c.Post("3") // in vain, where the session has ended meanwhile
		}
		c.got = strings.Split(c.Do(http.MethodGet, ""), "\x1e")
	}
}

// Want reads as many packets, and fails where they are others.
func (c *Client) Want(packets ...string) {
	c.t.Helper()
	for _, want := range packets {
		if got := c.Next(); got != want {
			c.t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Connect brings the client into a namespace with auth, a JSON object or nothing, and returns
// its id there; refused is the packet that says no. What comes from other namespaces meanwhile
// is dropped.
func (c *Client) Connect(namespace, auth string) (id, refused string) {
	c.t.Helper()
	prefix := ""
	if namespace != "/" {
		prefix = namespace + ","
	}
	c.Send("40" + prefix + auth)
	for {
		p := c.Next()
		if rest, ok := strings.CutPrefix(p, "40"+prefix); ok {
			var data struct{ SID string }
			if err := json.Unmarshal([]byte(rest), &data); err != nil {
				c.t.Fatal(p, err)
			}
			c.connected = true
			return data.SID, ""
		}
		if strings.HasPrefix(p, "44"+prefix) {
			return "", p
		}
		if !c.connected {
			c.t.Fatalf("%q to CONNECT", p)
		}
	}
}
