package enginetest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/server/limits"
)

// exchanges is what a client sends, and what it gets back. The app is testapp.
//
// An answer is a line: HEAD, where that was asked for behind another request; the status; how
// the body's end is known (length N, chunked, end for the end of the connection, none); "close"
// where the answer says that it is the last one; the fields that are the app's; the body, and
// "cut" where it broke off. In place of all that "refused" stands for what an engine says of a
// bad request, "version" asks for the protocol's, and "malformed" is no answer. Behind the last
// one is what becomes of the connection: "open" if it serves another request, "closed" if it
// ends without a word.
var exchanges = []struct {
	name, send, want string
}{
	// What an app leaves to the server.
	{"a short answer", get("/write?abc"), `200 length 3 "abc"|open`},
	{"nothing is written", get("/nothing"), `200 length 0 ""|open`},
	{"nothing is written, to HTTP/1.0", "GET /nothing HTTP/1.0\r\n\r\n", `200 length 0 close ""|closed`},
	{"an empty write", get("/write?"), `200 length 0 ""|open`},
	{"the type is found out", get("/write?<html>"), `200 length 6 Content-Type: text/html; charset=utf-8 "<html>"|open`},
	{"no type is wanted", get("/untyped"), `200 length 1 Content-Type: none "x"|open`},
	{"a field that is set too late", get("/latefield"), `200 length 1 "x"|open`},
	{"a second status", get("/twice"), `201 length 1 "x"|open`},
	{"a status that is none", get("/status?42"), `500 length 22 close "Internal Server Error\n"|closed`},
	{"a status without a name", get("/status?599"), `599 length 4 "body"|open`},
	{"a line break in a field", get("/split"), `200 length 1 X-A: a  X-B: c "x"|open`},
	{"a field whose name is none", get("/badname"), `200 length 1 "x"|open`},
	{"an app that ends the connection", get("/close"), `200 length 1 close "x"|closed`},

	// A declared length.
	{"a length", get("/declared?3&abc"), `200 length 3 "abc"|open`},
	{"less than declared", get("/declared?5&abc"), `200 length 5 "abc" cut|closed`},
	{"less than declared, to HEAD", head("/declared?5&abc"), `200 length 5 ""|open`},
	{"more than declared at once", get("/declared?2&abc"), `200 length 2 "" cut|closed`},
	{"more than declared", get("/declared?2&ab&c"), `200 length 2 "ab"|closed`},
	{"a length that is none", get("/declared?abc&x"), `200 length 1 "x"|open`},
	{"a length that is none, to HEAD", head("/declared?abc&x"), `200 length 1 ""|open`},
	{"a length that is none, to HTTP/1.0", "GET /declared?abc&x HTTP/1.0\r\n\r\n", `200 length 1 close "x"|closed`},
	{"a negative length", get("/declared?-1&x"), `200 length 1 "x"|open`},

	// HEAD, and statuses without a body.
	{"HEAD", head("/write?abc"), `200 length 3 ""|open`},
	{"HEAD of nothing", head("/nothing"), `200 none ""|open`},
	{"HEAD of a length", head("/declared?3&abc"), `200 length 3 ""|open`},
	{"HEAD of a stream", head("/stream?one&two"), `200 none ""|open`},
	{"HEAD of a stream of known length", head("/stream?6&one&two"), `200 length 6 ""|open`},
	{"HEAD of a long answer", head("/long?100000"), `200 none ""|open`},
	{"HEAD with HTTP/1.0", "HEAD /write?abc HTTP/1.0\r\n\r\n", `200 length 3 close ""|closed`},
	{"204", get("/status?204"), `204 none ""|open`},
	{"204 with a length", get("/status?204&4"), `204 none ""|open`},
	{"304", get("/status?304"), `304 none ""|open`},
	{"304 with a length", get("/status?304&4"), `304 none ""|open`},
	{"HEAD of 304 with a length", head("/status?304&4"), `304 none ""|open`},
	{"205", get("/status?205"), `205 length 4 "body"|open`},

	// Interim responses.
	{"early hints", get("/hints"), `103 none Link: </a> ""|200 length 6 Link: </a> "hinted"|open`},
	{"early hints to HEAD", head("/hints"), `103 none Link: </a> ""|200 length 6 Link: </a> ""|open`},
	{"early hints to HTTP/1.0", "GET /hints HTTP/1.0\r\n\r\n", `200 length 6 close Link: </a> "hinted"|closed`},
	{"426", get("/status?426"), `426 length 4 Connection: Upgrade Upgrade: test "body"|open`},
	{"426, and the last one", "GET /status?426 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", `426 length 4 close Upgrade: test "body"|closed`},

	// Streams.
	{"a stream", get("/stream?one&two"), `200 chunked "onetwo"|open`},
	{"a stream to HTTP/1.0", "GET /stream?one&two HTTP/1.0\r\n\r\n", `200 end close "onetwo"|closed`},
	{"a stream to HTTP/1.0 with keep-alive", "GET /stream?one&two HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", `200 end close "onetwo"|closed`},
	{"a stream of known length", get("/stream?6&one&two"), `200 length 6 "onetwo"|open`},
	{"a stream of known length to HTTP/1.0 with keep-alive", "GET /stream?6&one&two HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", `200 length 6 Connection: keep-alive "onetwo"|open`},
	{"a stream of nothing", get("/stream"), `200 chunked Content-Type: none ""|open`},
	{"a long answer", get("/long?100000"), `200 chunked 100000 bytes|open`},
	{"an answer that is long to one engine", get("/long?3000"), `200 chunked 3000 bytes|open`},
	{"a long answer to HTTP/1.0", "GET /long?100000 HTTP/1.0\r\n\r\n", `200 end close 100000 bytes|closed`},
	{"trailers of a response", get("/sendtrailers"), `200 chunked "body" X-Told: 1 X-Untold: 2|open`},

	// The life of a connection.
	{"Connection: close", "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + get("/smuggled"), `200 length 0 close ""|closed`},
	{"Connection: close in a list", "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: x, Close\r\n\r\n", `200 length 0 close ""|closed`},
	{"Connection: close in the second field", "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: x\r\nConnection: close\r\n\r\n", `200 length 0 close ""|closed`},
	{"HTTP/1.0", "GET /write?abc HTTP/1.0\r\n\r\n" + get("/smuggled"), `200 length 3 close "abc"|closed`},
	{"HTTP/1.0 with keep-alive", "GET /write?abc HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", `200 length 3 Connection: keep-alive "abc"|open`},
	{"the version of an answer to HTTP/1.0", "GET /nothing HTTP/1.0\r\n\r\n", `version HTTP/1.0|closed`},
	{"HTTP/1.0 with keep-alive and close", "GET /write?abc HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", `200 length 3 Connection: keep-alive "abc"|open`},

	// Targets.
	{"a path", get("/a/../b//c;d?q=1&r"), `200 length 45 "GET x /a/../b//c;d?q=1&r /a/../b//c;d \"q=1&r\""|open`},
	{"escapes", get("/%2f%20caf%C3%A9"), `200 length 34 "GET x /%2f%20caf%C3%A9 // café \"\""|open`},
	{"bytes that are no ASCII", get("/caf\xe9"), `200 length 20 "GET x /caf\xe9 /caf\xe9 \"\""|open`},
	{"an empty query", get("/p?"), `200 length 15 "GET x /p? /p \"\""|open`},
	{"absolute-form", get("http://other/p?q"), `200 length 33 "GET other http://other/p?q /p \"q\""|open`},
	{"absolute-form without a path", get("http://other"), `200 length 26 "GET other http://other  \"\""|open`},
	{"asterisk-form", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", `200 length 0 ""|open`},
	{"asterisk-form with GET", get("*"), `400 refused|closed`},
	{"authority-form", "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", `200 length 21 "CONNECT h:80 h:80  \"\""|open`},
	{"CONNECT to everybody", "CONNECT * HTTP/1.1\r\nHost: x\r\n\r\n", `400 refused|closed`},
	{"CONNECT to nobody", "CONNECT  HTTP/1.1\r\nHost: x\r\n\r\n", `400 refused|closed`},
	{"no target", "GET  HTTP/1.1\r\nHost: x\r\n\r\n", `400 refused|closed`},
	{"a space in the target", get("/a b"), `400 refused|closed`},
	{"a tab in the target", get("/a\tb"), `400 refused|closed`},
	{"a port that is none", get("http://h:x/"), `400 refused|closed`},
	{"a method of one's own", "BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", `200 length 19 "BREW x /pot /pot \"\""|open`},
	{"a later HTTP/1", "GET /proto HTTP/1.2\r\nHost: x\r\n\r\n", `200 length 8 "HTTP/1.2"|open`},

	// Bodies.
	{"a body", post("/read", "Content-Length: 5", "hello"), `200 length 7 "\"hello\""|open`},
	{"a body of HTTP/1.0", "POST /read HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", `200 length 7 close "\"hello\""|closed`},
	{"a body in chunks", post("/read", "Transfer-Encoding: chunked", "5\r\nhello\r\n0006\r\n world\r\n0\r\n\r\n"), `200 length 13 close "\"hello world\""|closed`},
	{"a body in chunks, to who asks for the end", post("/read", "Transfer-Encoding: Chunked\r\nConnection: close", "A;x=y\r\n0123456789\r\n0\r\n\r\n"), `200 length 12 close "\"0123456789\""|closed`},
	{"a body that nobody reads", post("/nothing", "Content-Length: 5", "hello"), `200 length 0 ""|open`},
	{"a body that nobody reads, and that does not come", post("/nothing", "Content-Length: 5", "hel"), `200 length 0 close ""|closed`},
	{"a body in chunks that nobody reads", post("/nothing", "Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"), `200 length 0 close ""|closed`},
	{"a long body that nobody reads", post("/nothing", "Content-Length: 600000", strings.Repeat("x", 600000)) + get("/smuggled"), `200 length 0 close ""|closed`},
	{"a body that is read late", post("/early", "Content-Length: 5", "hello"), `200 chunked "early, \"\" true"|open`},
	{"trailers of a request", post("/trailers", "Trailer: X-T\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"), `200 length 30 close "\"hello\" map[X-T:[1]] \"\" \"\" end"|closed`},

	// Expect.
	{"100-continue", post("/read", "Expect: 100-continue\r\nContent-Length: 5", "hello"), `100 none ""|200 length 7 "\"hello\""|open`},
	{"100-Continue, among others", post("/read", "Expect: x, 100-Continue\r\nContent-Length: 5", "hello"), `100 none ""|200 length 7 "\"hello\""|open`},
	{"100-continue for no body", post("/read", "Expect: 100-continue\r\nContent-Length: 0", ""), `200 length 2 "\"\""|open`},
	{"100-continue of HTTP/1.0", "POST /read HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", `200 length 7 close "\"hello\""|closed`},
	{"100-continue, and nobody reads", post("/nothing", "Expect: 100-continue\r\nContent-Length: 5", "hello"), `200 length 0 close ""|closed`},
	{"an expectation that is empty", post("/read", "Expect: \r\nContent-Length: 5", "hello"), `200 length 7 "\"hello\""|open`},
	{"an expectation of HTTP/1.0", "POST /read HTTP/1.0\r\nExpect: wonders\r\nContent-Length: 5\r\n\r\nhello", `417 refused|closed`},

	// Pipelining.
	{"one behind the other", get("/write?a") + post("/nothing", "Content-Length: 3", "GET") + head("/write?abc") + get("/stream?b&c"),
		`200 length 1 "a"|200 length 0 ""|HEAD 200 length 3 ""|200 chunked "bc"|open`},
	{"one behind a body in chunks", post("/nothing", "Transfer-Encoding: chunked", "3\r\nGET\r\n0\r\n\r\n") + get("/write?a"), `200 length 0 close ""|closed`},
	{"behind what is malformed", get("/write?a") + "GET /\r\n\r\n" + get("/smuggled"), `200 length 1 "a"|400 refused|closed`},

	// Panics.
	{"a panic", get("/panic"), `500 length 22 close "Internal Server Error\n"|closed`},
	{"a panic, to HEAD", head("/panic"), `500 length 22 close ""|closed`},
	{"a panic after the status", get("/panic?status"), `closed`},
	{"a panic after a write", get("/panic?write"), `closed`},
	{"a panic after a flush", get("/panic?flush"), `200 chunked "half of it" cut|closed`},
	{"a panic on purpose", get("/panic?abort"), `closed`},
	{"a panic with a body unread", post("/panic", "Content-Length: 5", "hello") + get("/smuggled"), `500 length 22 close "Internal Server Error\n"|closed`},

	// An app that knows better.
	{"an app that keeps the connection", get("/own?Connection=keep-alive"), `200 length 1 Connection: keep-alive "x"|open`},
	{"an app that encodes", get("/own?Transfer-Encoding=chunked"), `200 chunked Content-Type: none "x"|open`},
	{"a NUL in a field", get("/nul"), `malformed`},
}

func get(target string) string  { return "GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n" }
func head(target string) string { return "HEAD " + target + " HTTP/1.1\r\nHost: x\r\n\r\n" }

func post(target, fields, body string) string {
	return "POST " + target + " HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n\r\n" + body
}

// testapp does what the path says, with the parts of the query.
func testapp(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	args := strings.Split(r.URL.RawQuery, "&")
	switch r.URL.Path {
	case "/nothing":
	case "/write":
		_, _ = io.WriteString(w, args[0])
	case "/untyped":
		h["Content-Type"] = nil
		_, _ = io.WriteString(w, "x")
	case "/latefield":
		_, _ = io.WriteString(w, "x")
		h.Set("X-Late", "1")
	case "/twice":
		w.WriteHeader(201)
		w.WriteHeader(202)
		_, _ = io.WriteString(w, "x")
	case "/status":
		status := 0
		_, _ = fmt.Sscan(args[0], &status)
		if len(args) > 1 {
			h.Set("Content-Length", args[1])
		}
		if status == http.StatusUpgradeRequired {
			h.Set("Connection", "Upgrade")
			h.Set("Upgrade", "test")
		}
		w.WriteHeader(status)
		if _, err := io.WriteString(w, "body"); (status == 204 || status == 304) != errors.Is(err, http.ErrBodyNotAllowed) {
			panic(err)
		}
	case "/split":
		h.Set("X-A", "a\r\nX-B: c")
		_, _ = io.WriteString(w, "x")
	case "/badname":
		h["X Y"] = []string{"z"}
		_, _ = io.WriteString(w, "x")
	case "/nul":
		h["X-Nul"] = []string{"a\x00b"}
		_, _ = io.WriteString(w, "x")
	case "/close":
		h.Set("Connection", "close")
		_, _ = io.WriteString(w, "x")
	case "/own":
		name, value, _ := strings.Cut(args[0], "=")
		h.Set(name, value)
		_, _ = io.WriteString(w, "x")
	case "/declared":
		h.Set("Content-Length", args[0])
		for _, part := range args[1:] {
			_, _ = io.WriteString(w, part)
		}
	case "/hints":
		h.Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "hinted")
	case "/stream":
		if args[0] == "6" {
			h.Set("Content-Length", "6")
			args = args[1:]
		}
		for _, part := range args {
			_, _ = io.WriteString(w, part)
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
		}
	case "/long":
		size := 0
		_, _ = fmt.Sscan(args[0], &size)
		_, _ = io.WriteString(w, strings.Repeat("x", size))
	case "/sendtrailers":
		h.Set("Trailer", "X-Told")
		_, _ = io.WriteString(w, "body")
		h.Set("X-Told", "1")
		h.Set(http.TrailerPrefix+"X-Untold", "2")
	case "/proto":
		_, _ = io.WriteString(w, r.Proto)
	case "/read":
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(w, "%q", body)
	case "/early":
		_, _ = io.WriteString(w, "early, ")
		_ = http.NewResponseController(w).Flush()
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%q %v", body, err != nil)
	case "/trailers":
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%q %v %q %q end", body, r.Trailer, r.Header.Get("X-T"), r.Header.Get("Trailer"))
	case "/panic":
		switch args[0] {
		case "status":
			w.WriteHeader(200)
		case "write":
			_, _ = io.WriteString(w, "half of it")
		case "flush":
			_, _ = io.WriteString(w, "half of it")
			w.(http.Flusher).Flush()
		case "abort":
			panic(http.ErrAbortHandler)
		}
		panic("no reason")
	default:
		fmt.Fprintf(w, "%s %s %s %s %q", r.Method, r.Host, r.RequestURI, r.URL.Path, r.URL.RawQuery)
	}
}

func (e engine) testAnswers(t *testing.T) {
	s := e.serve(t, testapp, Options{Limits: limits.Limits{BodySize: 1 << 20}})
	for _, x := range exchanges {
		t.Run(x.name, func(t *testing.T) {
			want := e.wants(x.name, x.want)
			c := s.dial(t)
			c.send(x.send)
			method, _, _ := strings.Cut(x.send, " ")
			for line := range strings.SplitSeq(want, "|") {
				var got string
				switch line {
				case "open":
					c.send(get("/write?next"))
					line = `200 length 4 "next"`
					got = c.answer("GET")
				case "closed":
					if rest := c.rest(); len(rest) > 0 {
						got = fmt.Sprintf("%q", rest)
					} else {
						got = line
					}
				default:
					if asked, ok := strings.CutPrefix(line, "HEAD "); ok {
						method, line = "HEAD", asked
					}
					got = c.answer(method)
					if version, ok := strings.CutPrefix(line, "version "); ok {
						got, line = c.version, version
					}
					if line == "malformed" && strings.HasPrefix(got, line) {
						return
					}
				}
				if !matches(got, line) {
					t.Fatalf("got %s\nwant %s\nof %s", got, line, want)
				}
				if !strings.HasPrefix(line, "1") {
					method = "GET" // of those behind it, if they do not say so
				}
			}
		})
	}
}

// matches compares an answer with what is wanted. The text of a refusal is the engine's.
func matches(got, want string) bool {
	if status, ok := strings.CutSuffix(want, " refused"); ok {
		return strings.HasPrefix(got, status+" ") && strings.Contains(got, " close ")
	}
	return got == want
}

// answer reads one, and puts it into a line: see exchanges.
func (c *client) answer(method string) string {
	c.t.Helper()
	r, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return fmt.Sprintf("malformed: %v", err)
	}
	body, err := io.ReadAll(r.Body)
	c.version = r.Proto
	line := fmt.Sprint(r.StatusCode)
	switch bodiless := method == "HEAD" || r.StatusCode < 200 || r.StatusCode == 204 || r.StatusCode == 304; {
	case bodiless && r.Header.Get("Content-Length") == "":
		line += " none"
	case len(r.TransferEncoding) > 0:
		line += " chunked"
	case r.ContentLength >= 0:
		line += fmt.Sprint(" length ", r.ContentLength)
	default:
		line += " end"
	}
	if r.Close {
		line += " close"
	}
	if r.StatusCode == 200 && r.Header.Get("Content-Type") == "" && (len(body) > 0 || len(r.TransferEncoding) > 0) {
		r.Header.Set("Content-Type", "none")
	}
	line += fields(r.Header)
	if len(body) > 1000 {
		line += fmt.Sprintf(" %d bytes", len(body))
	} else {
		line += fmt.Sprintf(" %q", body)
	}
	if err != nil {
		line += " cut"
	}
	return line + fields(r.Trailer)
}

// fields are those of h that an app may have set.
func fields(h http.Header) (line string) {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value := strings.Join(h[name], ", ")
		switch {
		case name == "Date" || name == "Content-Length" || name == "X-Content-Type-Options" || value == "text/plain; charset=utf-8":
		default:
			line += " " + name + ": " + value
		}
	}
	return line
}
