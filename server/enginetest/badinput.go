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

// fate is what becomes of a connection.
type fate int

const (
	closed fate = iota // and nothing else is answered on it
	open               // it serves the next request
	either             // of them
)

// input is what a client sends, and the status that it gets.
type input struct {
	name   string
	send   string
	status int
	then   fate
	log    string // what the log says
}

// badInput is what a client may send by mistake or on purpose. Where the connection is not open
// afterwards nothing else may be answered on it: the rest is what somebody may have tried to
// have taken for a request (RFC 9112, 11.2).
var badInput = []input{
	{name: "slow headers", send: "GET / HTTP/1.1\r\nHost: x", status: 408, log: "headers did not arrive"},
	{name: "slow request line", send: "GE", status: 408, log: "headers did not arrive"},
	{name: "a body that never comes", send: "POST / HTTP/1.1\r\n" + host + "Content-Length: 10\r\n\r\n12345", status: 408, log: "over its limit"},
	body("a chunk that never comes", "Transfer-Encoding: chunked", "5\r\n12", 408, closed),
	request("header too large", "GET / HTTP/1.1\r\n"+host+"X: "+strings.Repeat("x", 16<<10)+"\r\n\r\n", 431, closed),
	request("header a little too large", "GET / HTTP/1.1\r\n"+host+"X: "+strings.Repeat("x", 5<<10)+"\r\n\r\n", 200, open),
	request("request line too large", "GET /"+strings.Repeat("x", 16<<10)+" HTTP/1.1\r\n"+host+"\r\n", 431, closed),
	{name: "body announced too large", send: "POST / HTTP/1.1\r\n" + host + "Content-Length: 101\r\n\r\n", status: 413, log: "over the limit"},
	{name: "body too large in chunks", send: "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n65\r\n" + strings.Repeat("x", 101) + "\r\n0\r\n\r\n", status: 413, log: "over its limit"},
	body("expecting a 100 for too much", "Expect: 100-continue\r\nContent-Length: 101", "", 413, closed),
	body("chunk size is no number", "Transfer-Encoding: chunked", "zz\r\n12\r\n0\r\n\r\n", 500, closed),
	body("chunk size negative", "Transfer-Encoding: chunked", "-1\r\n12\r\n0\r\n\r\n", 500, closed),
	body("chunk without its end", "Transfer-Encoding: chunked", "2\r\n12345\r\n0\r\n\r\n", 500, closed),
	body("unknown transfer coding", "Transfer-Encoding: gzip, chunked", "0\r\n\r\n", 501, closed),
	body("two content lengths", "Content-Length: 1\r\nContent-Length: 2", "12", 400, closed),
	body("content length signed", "Content-Length: +1", "1", 400, closed),
	body("content length and transfer encoding", "Content-Length: 3\r\nTransfer-Encoding: chunked", "1\r\na\r\n0\r\n\r\n", 200, closed),
	request("no host", "GET / HTTP/1.1\r\n\r\n", 400, closed),
	request("two hosts", "GET / HTTP/1.1\r\n"+host+host+"\r\n", 400, closed),
	field("space before the colon", "X : y", 400, closed),
	field("folded header", " folded", 400, closed),
	request("no HTTP at all", "\x16\x03\x01\x02\x00 is what a TLS client says\r\n\r\n", 400, closed),
	line("HTTP of the future", "GET / HTTP/3.0", 505, closed),
	field("upgrade to something unknown", "Connection: Upgrade\r\nUpgrade: smoke-signals", 200, open),
	request("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 200, closed),
	request("HTTP/1.0 with keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, open),
	request("bare LF", "GET / HTTP/1.1\nHost: x\n\n", 200, open),
	field("bare CR in a field", "X: a\rb", 400, closed),
	field("control character in a field", "X: a\x00b", 400, closed),
	body("two content lengths that agree", "Content-Length: 2\r\nContent-Length: 2", "12", 200, open),
	body("content length as a list", "Content-Length: 2, 2", "12", 400, closed),
	body("content length too large for a number", "Content-Length: 9223372036854775808", "", 400, closed),
	body("content length of hexadecimal digits", "Content-Length: 0x2", "12", 400, closed),
	body("transfer encoding twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n", 501, closed),
	request("transfer encoding in HTTP/1.0", "POST / HTTP/1.0\r\n"+host+"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, closed),
	body("chunk size overflows", "Transfer-Encoding: chunked", "10000000000000000\r\n12\r\n0\r\n\r\n", 500, closed),
	body("chunk extension without end", "Transfer-Encoding: chunked", "2;"+strings.Repeat("x", 64<<10)+"\r\n12\r\n0\r\n\r\n", 500, closed),
	body("chunk extension", "Transfer-Encoding: chunked", "2;a=b\r\n12\r\n0\r\n\r\n", 200, either),
	body("unknown expectation", "Expect: wonders\r\nContent-Length: 1", "1", 417, closed),
	request("host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, closed),
	line("target without a slash", "GET x HTTP/1.1", 400, closed),
	line("target with a bad escape", "GET /%zz HTTP/1.1", 400, closed),
	request("a request line without a version", "GET /\r\n"+host+"\r\n"+get("/smuggled"), 400, closed),
	line("a version in small letters", "GET / http/1.1", 400, closed),
	line("a version of two digits", "GET / HTTP/1.10", 400, closed),
	line("two spaces before the target", "GET  / HTTP/1.1", 400, closed),
	line("two spaces behind the target", "GET /  HTTP/1.1", 400, closed),
	line("a space behind the version", "GET / HTTP/1.1 ", 400, closed),
	line("a space before the method", " GET / HTTP/1.1", 400, closed),
	line("a method that is no token", "G(T / HTTP/1.1", 400, closed),
	request("an empty line first", "\r\n"+get("/"), 400, either),
	request("two empty lines first", "\r\n\r\n"+get("/"), 400, closed),
	line("a bare CR in the request line", "GET / HTTP/1.1\rX: y", 400, closed),
	line("HTTP/2 with a body like a request", "PRI * HTTP/2.0", 400, closed),

	field("a tab before the colon", "X\t: y", 400, closed),
	field("a field without a colon", "X", 400, closed),
	field("a field without a name", ": y", 400, closed),
	field("a name with a space", "X Y: z", 400, closed),
	field("a name that is no ASCII", "X\xe9: z", 400, closed),
	line("the first field folded", "GET / HTTP/1.1\r\n X: y", 400, closed),
	field("a field folded with its value", "X: a\r\n\tb", 200, open),
	body("a field behind a bare LF", "X: a\nContent-Length: 5", "hello", 200, open),
	field("a CR at the end of a field", "X: a\r", 400, closed),
	field("a DEL in a field", "X: \x7f", 400, closed),
	field("an empty Host beside another", "Host:", 400, closed),
	field("a value that is no ASCII", "X: \x80\xff", 200, open),

	length("content length negative", "-1", 400, closed),
	length("content length empty", "", 400, closed),
	length("content length with an underscore", "1_0", 400, closed),
	length("content length with a fraction", "5.0", 400, closed),
	length("content length with a space in it", "5 5", 400, closed),
	body("content length with zeros before it", "Content-Length: 005", "hello", 200, open),
	body("transfer encoding before content length", "Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"+get("/smuggled"), 200, closed),
	coding("a transfer encoding that is none", "identity", 501, closed),
	coding("an empty transfer encoding", "", 501, closed),
	coding("chunked in a list", "chunked, chunked", 501, closed),
	coding("chunked and not last", "chunked, identity", 501, closed),
	coding("chunked in quotes", "\"chunked\"", 501, closed),
	coding("chunked behind a vertical tab", "\x0bchunked", 400, closed),
	body("transfer encoding with a space before the colon", "Transfer-Encoding : chunked", "0\r\n\r\n"+get("/smuggled"), 400, closed),

	chunks("chunk size with a plus", "+5\r\nhello\r\n0\r\n\r\n", 500, closed),
	chunks("chunk size with a minus zero", "5\r\nhello\r\n-0\r\n\r\n", 500, closed),
	chunks("chunk size as C has it", "0x5\r\nhello\r\n0\r\n\r\n", 500, closed),
	chunks("chunk size with an underscore", "5_\r\nhello\r\n0\r\n\r\n", 500, closed),
	chunks("chunk size behind a space", " 5\r\nhello\r\n0\r\n\r\n", 500, closed),
	chunks("chunk size missing", "\r\nhello\r\n0\r\n\r\n", 500, closed),
	chunks("chunk size of seventeen digits", "00000000000000005\r\nhello\r\n0\r\n\r\n", 500, closed),
	chunks("chunk size wraps around", "10000000000000005\r\nhello\r\n0\r\n\r\n", 500, closed),
	chunks("chunk of the largest size there is", "ffffffffffffffff\r\n"+strings.Repeat("x", 101), 413, closed),
	chunks("chunk size that ends with LF", "5\nhello\r\n0\r\n\r\n", 500, closed),
	chunks("chunk size that ends with CR", "5\rhello\r\n0\r\n\r\n", 500, closed),
	chunks("chunk that ends with LF", "5\r\nhello\n0\r\n\r\n", 500, closed),
	chunks("chunk that ends with CR", "5\r\nhello\r0\r\n\r\n", 500, closed),
	chunks("chunk that ends with anything", "5\r\nhelloXX0\r\n\r\n", 500, closed),
	chunks("chunk extension that ends with LF", "5;x\nhello\r\n0\r\n\r\n", 500, closed),
	chunks("chunk extension with a line break in quotes", "5;x=\"\r\n\"\r\nhello\r\n0\r\n\r\n", 500, closed),
	chunks("chunk extension behind a tab", "5\t;x\r\nhello\r\n0\r\n\r\n", 500, either),
	chunks("chunk extension with a control character", "5;x=\x01\r\nhello\r\n0\r\n\r\n", 200, closed),
	chunks("trailer without a colon", "5\r\nhello\r\n0\r\nX\r\n\r\n", 500, closed),
	chunks("a request in place of a trailer", "5\r\nhello\r\n0\r\n", 500, closed),
	chunks("trailer with a space before the colon", "5\r\nhello\r\n0\r\nX : y\r\n\r\n", 200, closed),
	chunks("trailer that is folded", "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n", 200, closed),
	chunks("trailer that ends with LF", "5\r\nhello\r\n0\r\nX: y\nZ: z\r\n\r\n", 200, closed),
	chunks("trailers without end", "5\r\nhello\r\n0\r\nX: "+strings.Repeat("x", 20<<10)+"\r\n\r\n", 500, closed),

	line("absolute target", "GET http://h/path HTTP/1.1", 200, open),
}

// request is whatever it sends.
func request(name, send string, status int, then fate) input {
	return input{name: name, send: send, status: status, then: then}
}

// line is a request with this line.
func line(name, line string, status int, then fate) input {
	return request(name, line+"\r\n"+host+"\r\n", status, then)
}

// field is a GET with this field.
func field(name, field string, status int, then fate) input {
	return request(name, "GET / HTTP/1.1\r\n"+host+field+"\r\n\r\n", status, then)
}

// body is a POST with these fields and this body.
func body(name, fields, body string, status int, then fate) input {
	return request(name, post("/", fields, body), status, then)
}

// length is a POST with this Content-Length and no body.
func length(name, value string, status int, then fate) input {
	return body(name, "Content-Length: "+value, get("/smuggled"), status, then)
}

// coding is a POST with this Transfer-Encoding and an empty body in chunks.
func coding(name, value string, status int, then fate) input {
	return body(name, "Transfer-Encoding: "+value, "0\r\n\r\n"+get("/smuggled"), status, then)
}

// chunks is a POST with this body in chunks.
func chunks(name, chunks string, status int, then fate) input {
	return body(name, "Transfer-Encoding: chunked", chunks+get("/smuggled"), status, then)
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
			if c.then == either {
				return
			}
			if c.then == open && c.status == 200 {
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
