package enginetest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/server/limits"
)

func (e engine) testBadInput(t *testing.T) {
	const host = "Host: x\r\n"
	for _, c := range []struct {
		name   string
		send   string
		status int
		open   bool // the connection serves the next request
		either bool // or does not
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
		{name: "bare LF", send: "GET / HTTP/1.1\nHost: x\n\n", status: 200, open: true},
		{name: "bare CR in a field", send: "GET / HTTP/1.1\r\n" + host + "X: a\rb\r\n\r\n", status: 400},
		{name: "control character in a field", send: "GET / HTTP/1.1\r\n" + host + "X: a\x00b\r\n\r\n", status: 400},
		{name: "two content lengths that agree", send: "POST / HTTP/1.1\r\n" + host + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n12", status: 200, open: true},
		{name: "content length as a list", send: "POST / HTTP/1.1\r\n" + host + "Content-Length: 2, 2\r\n\r\n12", status: 400},
		{name: "content length too large for a number", send: "POST / HTTP/1.1\r\n" + host + "Content-Length: 9223372036854775808\r\n\r\n", status: 400},
		{name: "content length of hexadecimal digits", send: "POST / HTTP/1.1\r\n" + host + "Content-Length: 0x2\r\n\r\n12", status: 400},
		{name: "transfer encoding twice", send: "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 501},
		{name: "transfer encoding in HTTP/1.0", send: "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 200},
		{name: "chunk size overflows", send: "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n12\r\n0\r\n\r\n", status: 500},
		{name: "chunk extension without end", send: "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n2;" + strings.Repeat("x", 64<<10) + "\r\n12\r\n0\r\n\r\n", status: 500},
		{name: "chunk extension", send: "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n12\r\n0\r\n\r\n", status: 200, either: true},
		{name: "unknown expectation", send: "POST / HTTP/1.1\r\n" + host + "Expect: wonders\r\nContent-Length: 1\r\n\r\n1", status: 417},
		{name: "host with a space", send: "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", status: 400},
		{name: "target without a slash", send: "GET x HTTP/1.1\r\n" + host + "\r\n", status: 400},
		{name: "target with a bad escape", send: "GET /%zz HTTP/1.1\r\n" + host + "\r\n", status: 400},
		{name: "absolute target", send: "GET http://h/path HTTP/1.1\r\n" + host + "\r\n", status: 200, open: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			small := limits.Limits{HeaderSize: 4 << 10, BodySize: 100}
			if c.status == http.StatusRequestTimeout {
				t.Parallel()
				small.HeaderTimeout, small.BodyTimeout = time.Second, time.Second
			}
			s := e.serve(t, echo, Options{Limits: small})
			client := s.dial(t)
			client.send(c.send)
			if status, ok := e.differs[c.name]; ok {
				c.status = status
			}
			if r, body := client.response("GET"); r.StatusCode != c.status {
				t.Fatalf("status %d (%q), want %d", r.StatusCode, body, c.status)
			}
			if c.either {
				return
			}
			if c.open && c.status == 200 {
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
		})
	}
}

func (e engine) testPipelinedRequests(t *testing.T) {
	s := e.serve(t, echo, Options{})
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
