package enginetest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/server/limits"
)

// What was flushed is with the client before the app goes on.
func (e engine) testFlush(t *testing.T) {
	seen := make(chan bool)
	app := func(w http.ResponseWriter, r *http.Request) {
		for i := range 3 {
			if i == 0 && r.URL.RawQuery != "" {
				w.Header().Set("Content-Length", r.URL.RawQuery)
			}
			_, _ = io.WriteString(w, "part")
			w.(http.Flusher).Flush()
			<-seen
		}
	}
	s := e.serve(t, app, Options{})
	for _, first := range []string{"GET / HTTP/1.1\r\nHost: x\r\n", "GET /?12 HTTP/1.1\r\nHost: x\r\n", "GET / HTTP/1.0\r\n", "GET /?12 HTTP/1.0\r\nConnection: keep-alive\r\n"} {
		c := s.dial(t)
		c.send(first + "\r\n")
		r, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		part := make([]byte, 4)
		for range 3 {
			if _, err := io.ReadFull(r.Body, part); err != nil || string(part) != "part" {
				t.Errorf("%q: read %q, %v", first, part, err)
			}
			seen <- true
		}
		if rest, err := io.ReadAll(r.Body); len(rest) > 0 || err != nil {
			t.Errorf("%q: at the end came %q, %v", first, rest, err)
		}
	}
	// To HEAD there is nothing to flush but the head.
	c := s.dial(t)
	c.send(head("/"))
	if r, err := http.ReadResponse(c.r, &http.Request{Method: "HEAD"}); err != nil || r.StatusCode != 200 {
		t.Fatal(r, err)
	}
	for range 3 {
		seen <- true
	}
}

// An interim response is with the client before the final one is made.
func (e engine) testInterim(t *testing.T) {
	seen := make(chan bool)
	app := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		<-seen
		w.Header().Del("Link")
		w.WriteHeader(http.StatusProcessing)
		<-seen
		_, _ = io.WriteString(w, "done")
	}
	s := e.serve(t, app, Options{})
	c := s.dial(t)
	c.send(get("/"))
	for _, want := range []string{`103 none Link: </a> ""`, `102 none ""`, `200 length 4 "done"`} {
		if got := c.answer("GET"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if !strings.HasPrefix(want, "2") {
			seen <- true
		}
	}
}

// A client that waits for 100 Continue gets it when the app reads, and a final answer at once
// where it does not.
func (e engine) testExpect(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/late":
			_, _ = io.WriteString(w, "early, ")
			_ = http.NewResponseController(w).Flush()
			fallthrough
		case "/read":
			body, err := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%q %v", body, err)
		default:
			http.Error(w, "who are you?", http.StatusUnauthorized)
		}
	}
	s := e.serve(t, app, Options{})
	const fields = "Expect: 100-continue\r\nContent-Length: 5"
	c := s.dial(t)
	c.send(post("/read", fields, ""))
	if got := c.answer("POST"); got != `100 none ""` {
		t.Fatalf("got %s", got)
	}
	c.send("hello")
	if got := c.answer("POST"); got != `200 length 13 "\"hello\" <nil>"` {
		t.Errorf("got %s", got)
	}
	for _, fields := range []string{fields, "Expect: 100-continue\r\nTransfer-Encoding: chunked", "Expect: 100-continue\r\nContent-Length: 10000000"} {
		c = s.dial(t)
		start := time.Now()
		c.send(post("/", fields, ""))
		if got := c.answer("POST"); got != `401 length 13 close "who are you?\n"` {
			t.Errorf("%q: got %s", fields, got)
		}
		if took := time.Since(start); took > 900*time.Millisecond {
			t.Errorf("%q: the answer took %v", fields, took)
		}
		c.closed()
	}
	// The answer has begun: nobody asks for the body any more, and a client may still send it.
	c = s.dial(t)
	c.send(post("/late", fields, ""))
	r, err := http.ReadResponse(c.r, nil)
	if err != nil || r.StatusCode != 200 {
		t.Fatal(r, err)
	}
	part := make([]byte, len("early, "))
	if _, err := io.ReadFull(r.Body, part); err != nil {
		t.Error(err)
	}
	c.send("hello")
	if rest, err := io.ReadAll(r.Body); err != nil || string(rest) != `"hello" <nil>` {
		t.Errorf("got %q, %v", rest, err)
	}
}

// An app reads and writes in turns. The next request is served.
func (e engine) testFullDuplex(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if err := control.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		w.WriteHeader(200)
		_ = control.Flush()
		b := make([]byte, 32<<10)
		for {
			n, err := r.Body.Read(b)
			if n > 0 {
				_, _ = w.Write(bytes.ToUpper(b[:n]))
				_ = control.Flush()
			}
			if err != nil {
				if err != io.EOF {
					t.Error(err)
				}
				return
			}
		}
	}
	s := e.serve(t, app, Options{})
	for _, length := range []int{12, 1 << 20} {
		c := s.dial(t)
		c.send(post("/", fmt.Sprintf("Content-Length: %d", length), ""))
		r, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		turn := func(from int, text string) {
			c.send(text)
			got := make([]byte, len(text))
			if _, err := io.ReadFull(r.Body, got); err != nil || string(got) != strings.ToUpper(text) {
				t.Fatalf("from %d: %.20q, %v", from, got, err)
			}
		}
		turn(0, "abcd")
		turn(4, "abcdabcd")
		for sent := 12; sent < length; sent += 16 << 10 {
			turn(sent, strings.Repeat("abcd", min(16<<10, length-sent)/4))
		}
		if rest, err := io.ReadAll(r.Body); len(rest) > 0 || err != nil {
			t.Errorf("at the end came %q, %v", rest, err)
		}
		if r.Close {
			t.Errorf("%d bytes: the connection ends", length)
			continue
		}
		c.send(post("/", "Content-Length: 4", "next"))
		if got := c.answer("POST"); got != `200 chunked Content-Type: none "NEXT"` {
			t.Errorf("the next request got %s", got)
		}
	}
}

// A read deadline that is over ends a read, and one that is taken back does not.
func (e engine) testReadDeadline(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if err := control.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/back" {
			if err := control.SetReadDeadline(time.Time{}); err != nil {
				t.Error(err)
			}
			_ = control.EnableFullDuplex()
			_, _ = io.WriteString(w, "now, ")
			_ = control.Flush()
		}
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%q %v", body, errors.Is(err, os.ErrDeadlineExceeded))
	}
	// With a timeout for bodies the engine sets deadlines of its own.
	s := e.serve(t, app, Options{Limits: limits.Limits{BodyTimeout: -1}})
	c := s.dial(t)
	c.send(post("/", "Content-Length: 5", "hel"))
	r, body := c.response("POST")
	if r.StatusCode != 200 || body != `"hel" true` {
		t.Errorf("got %d %s", r.StatusCode, body)
	}
	c.closed()
	c = s.dial(t)
	c.send(post("/back", "Content-Length: 5", "hel"))
	r, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r.Body, make([]byte, 5)); err != nil {
		t.Error(err)
	}
	<-time.After(10 * time.Millisecond) // longer than the deadline that was
	c.send("lo")
	if rest, err := io.ReadAll(r.Body); err != nil || string(rest) != `"hello" false` {
		t.Errorf("got %q, %v", rest, err)
	}
}

// A write deadline ends the writes to a client that takes nothing, and the connection.
func (e engine) testWriteDeadline(t *testing.T) {
	result := make(chan error, 1)
	app := func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Error(err)
		}
		chunk := make([]byte, 1<<20)
		for {
			if _, err := w.Write(chunk); err != nil {
				result <- err
				return
			}
		}
	}
	s := e.serve(t, app, Options{})
	c := s.dial(t)
	c.send(get("/"))
	select {
	case err := <-result:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the write ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the app still writes")
	}
	if _, err := io.Copy(io.Discard, c.r); isTimeout(err) {
		t.Error("the connection is still open")
	}
}

// A connection that was hijacked is the app's: what was sent behind the request included.
func (e engine) testHijack(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if r.URL.Path == "/switch" {
			w.Header().Set("Upgrade", "test")
			w.Header().Set("Connection", "Upgrade")
			w.WriteHeader(http.StatusSwitchingProtocols)
		}
		c, rw, err := control.Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("Write = %v", err)
		}
		if _, _, err := control.Hijack(); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("Hijack = %v", err)
		}
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = rw.WriteString("heard " + line)
			_ = rw.Flush()
		}
	}
	s := e.serve(t, app, Options{Limits: limits.Limits{IdleTimeout: time.Millisecond, BodyTimeout: time.Millisecond}})
	for _, path := range []string{"/", "/switch"} {
		c := s.dial(t)
		c.send("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\none\n")
		if path == "/switch" {
			r, err := http.ReadResponse(c.r, nil)
			if err != nil || r.StatusCode != 101 || r.Header.Get("Upgrade") != "test" || r.Header.Get("Connection") != "Upgrade" {
				t.Fatal(r, err)
			}
		}
		for _, want := range []string{"one", "two", "three"} {
			if want != "one" {
				<-time.After(5 * time.Millisecond) // longer than a limit of the engine's
				c.send(want + "\n")
			}
			if got, err := c.r.ReadString('\n'); got != "heard "+want+"\n" || err != nil {
				t.Errorf("%s: heard %q, %v", path, got, err)
			}
		}
		_ = c.Close()
	}
}

// Files, and parts of them, as io.Copy and net/http's own server of files hand them over.
func (e engine) testFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	content := bytes.Repeat([]byte("0123456789"), 10_000)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	type result struct {
		n, at int64
		err   error
	}
	results := make(chan result, 1)
	app := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/served" {
			http.ServeFile(w, r, path)
			return
		}
		var offset, length, declared int64
		_, _ = fmt.Sscanf(r.URL.RawQuery, "%d,%d,%d", &offset, &length, &declared)
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		_, _ = f.Seek(offset, io.SeekStart)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if declared >= 0 {
			w.Header().Set("Content-Length", fmt.Sprint(declared))
		}
		var from io.Reader = f
		if length >= 0 {
			from = io.LimitReader(f, length)
		}
		var got result
		got.n, got.err = w.(io.ReaderFrom).ReadFrom(from)
		got.at, _ = f.Seek(0, io.SeekCurrent)
		results <- got
	}
	s := e.serve(t, app, Options{})
	for _, x := range []struct {
		offset, length, declared int
		want                     string
		sent                     int
		open                     bool
	}{
		{0, -1, 100_000, "200 length 100000", 100_000, true},
		{0, -1, -1, "200 chunked", 100_000, true},
		{10, -1, 99_990, "200 length 99990", 99_990, true},
		{15, 50_000, 50_000, "200 length 50000", 50_000, true},
		{15, 50_000, -1, "200 chunked", 50_000, true},
		{99_995, 100, 5, "200 length 5", 5, true},
		{7, 20, 20, "200 length 20", 20, true},
		{100_000, -1, 0, "200 length 0", 0, true},
		{0, 0, 0, "200 length 0", 0, true},
		{50_000, -1, 100_000, "200 length 100000", 50_000, false}, // less than was declared
	} {
		name := fmt.Sprintf("/?%d,%d,%d", x.offset, x.length, x.declared)
		c := s.dial(t)
		c.send(get(name))
		r, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatal(name, err)
		}
		body, err := io.ReadAll(r.Body)
		framed := "200 chunked"
		if r.ContentLength >= 0 {
			framed = fmt.Sprint("200 length ", r.ContentLength)
		}
		if framed != x.want || !bytes.Equal(body, content[x.offset:x.offset+x.sent]) || (err == nil) != x.open {
			t.Errorf("%s: %s, %d bytes, %v", name, framed, len(body), err)
		}
		if got := <-results; got.n != int64(x.sent) || got.at != int64(x.offset+x.sent) || got.err != nil {
			t.Errorf("%s: ReadFrom = %d, %v, the file stands at %d", name, got.n, got.err, got.at)
		}
		if !x.open {
			c.closed()
			continue
		}
		c.send(head(name))
		want := x.want + ` ""`
		if strings.Contains(want, "chunked") {
			want = `200 none ""`
		}
		if got := c.answer("HEAD"); got != want {
			t.Errorf("HEAD %s: %s", name, got)
		}
		<-results
	}
	// http.ServeContent, by ranges and not at all.
	c := s.dial(t)
	date := regexp.MustCompile(` Last-Modified: [^"]* GMT`)
	for _, x := range []struct{ fields, want string }{
		{"Range: bytes=5-14", `206 length 10 Accept-Ranges: bytes Content-Range: bytes 5-14/100000 "5678901234"`},
		{"Range: bytes=-3", `206 length 3 Accept-Ranges: bytes Content-Range: bytes 99997-99999/100000 "789"`},
		{"Range: bytes=200000-", `416 length 33 Content-Range: bytes */100000 "invalid range: failed to overlap\n"`},
		{"If-Modified-Since: " + time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), `304 none ""`},
	} {
		c.send("GET /served HTTP/1.1\r\nHost: x\r\n" + x.fields + "\r\n\r\n")
		if got := date.ReplaceAllString(c.answer("GET"), ""); got != x.want {
			t.Errorf("%s: got %s, want %s", x.fields, got, x.want)
		}
	}
}

// A head over its limit gets 431, however it comes; up to it, it is served.
func (e engine) testHeadSize(t *testing.T) {
	s := e.serve(t, echo, Options{Limits: limits.Limits{HeaderSize: 8 << 10}})
	fit := func(size int) string {
		request := "GET /fits HTTP/1.1\r\nHost: x\r\nX: \r\n\r\n"
		return strings.Replace(request, "X: ", "X: "+strings.Repeat("x", size-len(request)), 1)
	}
	c := s.dial(t)
	c.send(fit(8 << 10))
	if r, body := c.response("GET"); r.StatusCode != 200 {
		t.Errorf("as large as it may be: %d %s", r.StatusCode, body)
	}
	for _, large := range []string{fit(16 << 10), fit(1 << 20)} {
		c := s.dial(t)
		in := bufio.NewReader(c)
		go func() { _, _ = io.WriteString(c.Conn, large) }() // it may not be read to its end
		r, err := http.ReadResponse(in, nil)
		if err != nil || r.StatusCode != 431 {
			t.Errorf("%d bytes: %v %v", len(large), r, err)
		}
	}
}
