package enginetest

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/server/limits"
)

const host = "Host: x\r\n"

// badInput is what a client may send by mistake or on purpose, and the status that it gets. Where
// the connection is not open afterwards nothing else may be answered on it: the rest is
// what somebody may have tried to have taken for a request (RFC 9112, 11.2).
var badInput = []struct {
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
	{name: "header a little too large", send: "GET / HTTP/1.1\r\n" + host + "X: " + strings.Repeat("x", 5<<10) + "\r\n\r\n", status: 200, open: true},
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
	{name: "a request line without a version", send: "GET /\r\n" + host + "\r\n" + get("/smuggled"), status: 400},
	{name: "a version in small letters", send: "GET / http/1.1\r\n" + host + "\r\n", status: 400},
	{name: "a version of two digits", send: "GET / HTTP/1.10\r\n" + host + "\r\n", status: 400},
	{name: "two spaces before the target", send: "GET  / HTTP/1.1\r\n" + host + "\r\n", status: 400},
	{name: "two spaces behind the target", send: "GET /  HTTP/1.1\r\n" + host + "\r\n", status: 400},
	{name: "a space behind the version", send: "GET / HTTP/1.1 \r\n" + host + "\r\n", status: 400},
	{name: "a space before the method", send: " GET / HTTP/1.1\r\n" + host + "\r\n", status: 400},
	{name: "a method that is no token", send: "G(T / HTTP/1.1\r\n" + host + "\r\n", status: 400},
	{name: "an empty line first", send: "\r\n" + get("/"), status: 400, either: true},
	{name: "two empty lines first", send: "\r\n\r\n" + get("/"), status: 400},
	{name: "a bare CR in the request line", send: "GET / HTTP/1.1\rX: y\r\n" + host + "\r\n", status: 400},
	{name: "HTTP/2 with a body like a request", send: "PRI * HTTP/2.0\r\n" + host + "\r\n", status: 400},

	{name: "a tab before the colon", send: "GET / HTTP/1.1\r\n" + host + "X\t: y\r\n\r\n", status: 400},
	{name: "a field without a colon", send: "GET / HTTP/1.1\r\n" + host + "X\r\n\r\n", status: 400},
	{name: "a field without a name", send: "GET / HTTP/1.1\r\n" + host + ": y\r\n\r\n", status: 400},
	{name: "a name with a space", send: "GET / HTTP/1.1\r\n" + host + "X Y: z\r\n\r\n", status: 400},
	{name: "a name that is no ASCII", send: "GET / HTTP/1.1\r\n" + host + "X\xe9: z\r\n\r\n", status: 400},
	{name: "the first field folded", send: "GET / HTTP/1.1\r\n X: y\r\n" + host + "\r\n", status: 400},
	{name: "a field folded with its value", send: "GET / HTTP/1.1\r\n" + host + "X: a\r\n\tb\r\n\r\n", status: 200, open: true},
	{name: "a field behind a bare LF", send: "POST / HTTP/1.1\r\n" + host + "X: a\nContent-Length: 5\r\n\r\nhello", status: 200, open: true},
	{name: "a CR at the end of a field", send: "GET / HTTP/1.1\r\n" + host + "X: a\r\r\n\r\n", status: 400},
	{name: "a DEL in a field", send: "GET / HTTP/1.1\r\n" + host + "X: \x7f\r\n\r\n", status: 400},
	{name: "an empty Host beside another", send: "GET / HTTP/1.1\r\n" + host + "Host:\r\n\r\n", status: 400},
	{name: "a value that is no ASCII", send: "GET / HTTP/1.1\r\n" + host + "X: \x80\xff\r\n\r\n", status: 200, open: true},

	{name: "content length negative", send: lengths("-1"), status: 400},
	{name: "content length empty", send: lengths(""), status: 400},
	{name: "content length with an underscore", send: lengths("1_0"), status: 400},
	{name: "content length with a fraction", send: lengths("5.0"), status: 400},
	{name: "content length with a space in it", send: lengths("5 5"), status: 400},
	{name: "content length with zeros before it", send: "POST / HTTP/1.1\r\n" + host + "Content-Length: 005\r\n\r\nhello", status: 200, open: true},
	{name: "transfer encoding before content length", send: "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + get("/smuggled"), status: 200},
	{name: "a transfer encoding that is none", send: encoded("identity"), status: 501},
	{name: "an empty transfer encoding", send: encoded(""), status: 501},
	{name: "chunked in a list", send: encoded("chunked, chunked"), status: 501},
	{name: "chunked and not last", send: encoded("chunked, identity"), status: 501},
	{name: "chunked in quotes", send: encoded("\"chunked\""), status: 501},
	{name: "chunked behind a vertical tab", send: encoded("\x0bchunked"), status: 400},
	{name: "transfer encoding with a space before the colon", send: "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + get("/smuggled"), status: 400},

	{name: "chunk size with a plus", send: chunked("+5\r\nhello\r\n0\r\n\r\n"), status: 500},
	{name: "chunk size with a minus zero", send: chunked("5\r\nhello\r\n-0\r\n\r\n"), status: 500},
	{name: "chunk size as C has it", send: chunked("0x5\r\nhello\r\n0\r\n\r\n"), status: 500},
	{name: "chunk size with an underscore", send: chunked("5_\r\nhello\r\n0\r\n\r\n"), status: 500},
	{name: "chunk size behind a space", send: chunked(" 5\r\nhello\r\n0\r\n\r\n"), status: 500},
	{name: "chunk size missing", send: chunked("\r\nhello\r\n0\r\n\r\n"), status: 500},
	{name: "chunk size of seventeen digits", send: chunked("00000000000000005\r\nhello\r\n0\r\n\r\n"), status: 500},
	{name: "chunk size wraps around", send: chunked("10000000000000005\r\nhello\r\n0\r\n\r\n"), status: 500},
	{name: "chunk of the largest size there is", send: chunked("ffffffffffffffff\r\n" + strings.Repeat("x", 101)), status: 413},
	{name: "chunk size that ends with LF", send: chunked("5\nhello\r\n0\r\n\r\n"), status: 500},
	{name: "chunk size that ends with CR", send: chunked("5\rhello\r\n0\r\n\r\n"), status: 500},
	{name: "chunk that ends with LF", send: chunked("5\r\nhello\n0\r\n\r\n"), status: 500},
	{name: "chunk that ends with CR", send: chunked("5\r\nhello\r0\r\n\r\n"), status: 500},
	{name: "chunk that ends with anything", send: chunked("5\r\nhelloXX0\r\n\r\n"), status: 500},
	{name: "chunk extension that ends with LF", send: chunked("5;x\nhello\r\n0\r\n\r\n"), status: 500},
	{name: "chunk extension with a line break in quotes", send: chunked("5;x=\"\r\n\"\r\nhello\r\n0\r\n\r\n"), status: 500},
	{name: "chunk extension behind a tab", send: chunked("5\t;x\r\nhello\r\n0\r\n\r\n"), status: 500, either: true},
	{name: "chunk extension with a control character", send: chunked("5;x=\x01\r\nhello\r\n0\r\n\r\n"), status: 200},
	{name: "trailer without a colon", send: chunked("5\r\nhello\r\n0\r\nX\r\n\r\n"), status: 500},
	{name: "a request in place of a trailer", send: chunked("5\r\nhello\r\n0\r\n"), status: 500},
	{name: "trailer with a space before the colon", send: chunked("5\r\nhello\r\n0\r\nX : y\r\n\r\n"), status: 200},
	{name: "trailer that is folded", send: chunked("5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"), status: 200},
	{name: "trailer that ends with LF", send: chunked("5\r\nhello\r\n0\r\nX: y\nZ: z\r\n\r\n"), status: 200},
	{name: "trailers without end", send: chunked("5\r\nhello\r\n0\r\nX: " + strings.Repeat("x", 20<<10) + "\r\n\r\n"), status: 500},

	{name: "absolute target", send: "GET http://h/path HTTP/1.1\r\n" + host + "\r\n", status: 200, open: true},
}

func lengths(value string) string { return post("/", "Content-Length: "+value, "") + get("/smuggled") }
func encoded(value string) string {
	return post("/", "Transfer-Encoding: "+value, "0\r\n\r\n") + get("/smuggled")
}
func chunked(body string) string {
	return post("/", "Transfer-Encoding: chunked", body) + get("/smuggled")
}

func (e engine) testBadInput(t *testing.T) {
	for _, c := range badInput {
		t.Run(c.name, func(t *testing.T) {
			small := limits.Limits{HeaderSize: 4 << 10, BodySize: 100}
			if c.status == http.StatusRequestTimeout {
				t.Parallel()
				small.HeaderTimeout, small.BodyTimeout = time.Second, time.Second
			}
			s := e.serve(t, echo, Options{Limits: small})
			client := s.dial(t)
			client.send(c.send)
			var err error
			if c.status, err = strconv.Atoi(e.wants(c.name, strconv.Itoa(c.status))); err != nil {
				t.Fatal(err)
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
