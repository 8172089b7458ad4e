package handover_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chaussette/chaussette/listener/siblings"
	"github.com/chaussette/chaussette/server/handover"
	"github.com/chaussette/chaussette/server/std"
	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/epoll"
	"github.com/chaussette/chaussette/ws/gorilla"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// worker serves /TAG itself, and has the worker of another tag serve its own.
type worker struct {
	t        *testing.T
	tag      siblings.Tag
	addr     string
	exchange *handover.Exchange
	siblings *siblings.Siblings
	conns    atomic.Int64 // that it says it has
}

func start(t *testing.T, base string, secure *tls.Config) *worker {
	t.Helper()
	s, err := siblings.Open(&siblings.Options{Key: "test", Base: base})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{t: t, tag: s.Tag(), addr: l.Addr().String(), siblings: s}
	w.exchange = handover.New(&handover.Options{Siblings: s, Addr: l.Addr(), Conns: func() int { return int(w.conns.Load()) }})
	loops, err := epoll.New(nil, &epoll.Options{Otherwise: gorilla.New(nil)})
	if err != nil {
		t.Fatal(err)
	}
	engine := std.New(w, &std.Options{TLS: secure, Context: ws.WithEngine(context.Background(), loops), ConnContext: handover.ConnContext})
	var serving sync.WaitGroup
	serving.Go(func() { _ = engine.Serve(l) })
	serving.Go(func() { _ = engine.ServePlain(w.exchange) })
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = l.Close()
		_ = w.exchange.Close()
		_ = engine.Close()
		serving.Wait()
		_ = s.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = loops.Close(ctx)
	})
	return w
}

func (w *worker) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/lasting" {
		if !w.exchange.PassOn(to, r) {
			fmt.Fprint(to, w.tag)
		}
		return
	}
	tag, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if tag != string(w.tag) {
		if !w.exchange.Serve(to, r, siblings.Tag(tag)) {
			http.Error(to, "nobody has it", http.StatusNotFound)
		}
		return
	}
	if rest == "ws" {
		if c, err := ws.Accept(to, r, nil); err == nil {
			typ, p, err := c.Read(r.Context())
			if err == nil {
				_ = c.Write(r.Context(), typ, append([]byte("echo "), p...))
			}
			_ = c.Close(ws.StatusNormal, "")
		}
		return
	}
	body, err := io.ReadAll(r.Body)
	fmt.Fprintf(to, "%s: %s %s %q %v from %s, %s %s", w.tag, r.Method, r.URL, body, err, r.RemoteAddr, r.Header.Get("X-Own"), r.Header.Get("X-Forwarded-For"))
}

// answer is what w says to a request, without the address it came from.
func read(t *testing.T, in *bufio.Reader) string {
	t.Helper()
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s %q %v", r.Status, body, err)
	}
	return string(body)
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// The connection moves with the request, and stays where it is then; back it goes with
// another one.
func TestMove(t *testing.T) {
	base := t.TempDir()
	a, b := start(t, base, nil), start(t, base, nil)
	c := dial(t, a.addr)
	in := bufio.NewReader(c)
	ask := func(w *worker, request string) string {
		t.Helper()
		fmt.Fprintf(c, strings.ReplaceAll(request, "\n", "\r\n"), w.tag)
		return read(t, in)
	}
	own := c.LocalAddr().String()
	for _, w := range []*worker{b, b, a, b} {
		want := fmt.Sprintf(`%s: GET /%s/x?y=z "" <nil> from %s, 1 9.9.9.9`, w.tag, w.tag, own)
		if got := ask(w, "GET /%s/x?y=z HTTP/1.1\nHost: h\nX-Own: 1\nX-Forwarded-For: 9.9.9.9\n\n"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	counted(t, a.exchange, handover.Counts{Given: 2, Taken: 1})
	if got := ask(a, "POST /%s/ HTTP/1.1\nHost: h\nContent-Length: 5\n\nhello"); !strings.Contains(got, `"hello" <nil>`) {
		t.Error(got)
	}
	// Two at once, the second for the one that has read both.
	fmt.Fprintf(c, "GET /%s/1 HTTP/1.1\r\nHost: h\r\n\r\nGET /%s/2 HTTP/1.1\r\nHost: h\r\n\r\n", a.tag, b.tag)
	if got := read(t, in); !strings.HasPrefix(got, string(a.tag)+": GET /"+string(a.tag)+"/1") {
		t.Error(got)
	}
	if got := read(t, in); !strings.HasPrefix(got, string(b.tag)+": GET /"+string(b.tag)+"/2") {
		t.Error(got)
	}
}

// Chunks move as they came. Their connection is closed after the answer.
func TestChunks(t *testing.T) {
	base := t.TempDir()
	a, b := start(t, base, nil), start(t, base, nil)
	c := dial(t, a.addr)
	fmt.Fprintf(c, "POST /%s/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b.tag)
	if got := read(t, bufio.NewReader(c)); !strings.Contains(got, `"hello world" <nil>`) {
		t.Error(got)
	}
}

// What has not arrived of a body when the connection moves arrives there.
func TestBodyOnItsWay(t *testing.T) {
	base := t.TempDir()
	a, b := start(t, base, nil), start(t, base, nil)
	body := strings.Repeat("0123456789", 100_000)
	for _, expect := range []bool{false, true} {
		c := dial(t, a.addr)
		in := bufio.NewReader(c)
		head := fmt.Sprintf("POST /%s/ HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n", b.tag, len(body))
		sent := 0
		if expect {
			fmt.Fprint(c, head+"Expect: 100-continue\r\n\r\n")
			if line, err := in.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" || err != nil {
				t.Fatal(line, err)
			}
			_, _ = in.ReadString('\n')
		} else {
			sent = 10_000
			fmt.Fprint(c, head+"\r\n"+body[:sent])
		}
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			if b.exchange.Counts().Taken > 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatal("the connection does not move")
			}
		}
		if _, err := io.WriteString(c, body[sent:]); err != nil {
			t.Fatal(err)
		}
		if got := read(t, in); !strings.Contains(got, body+`" <nil>`) {
			t.Errorf("%d bytes, %s...", len(got), got[:min(len(got), 100)])
		}
	}
}

func certificate() (*tls.Config, *tls.Config) {
	donor := httptest.NewTLSServer(http.NotFoundHandler())
	defer donor.Close()
	roots := donor.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return &tls.Config{Certificates: donor.TLS.Certificates}, &tls.Config{RootCAs: roots, ServerName: "example.com"}
}

// Over TLS, and in HTTP/2 with it and without, the request is proxied.
func TestProxy(t *testing.T) {
	server, client := certificate()
	for _, c := range []struct {
		name      string
		tls       bool
		protocols func(*http.Protocols)
	}{
		{"HTTP/1.1 with TLS", true, func(p *http.Protocols) { p.SetHTTP1(true) }},
		{"HTTP/2 with TLS", true, func(p *http.Protocols) { p.SetHTTP2(true) }},
		{"HTTP/2 without", false, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := t.TempDir()
			secure, scheme := (*tls.Config)(nil), "http"
			transport := &http.Transport{Protocols: new(http.Protocols)}
			c.protocols(transport.Protocols)
			if c.tls {
				secure, scheme, transport.TLSClientConfig = server, "https", client
			}
			defer transport.CloseIdleConnections()
			a, b := start(t, base, secure), start(t, base, secure)
			for range 3 {
				r, err := http.NewRequest("POST", fmt.Sprintf("%s://%s/%s/", scheme, a.addr, b.tag), strings.NewReader("hello"))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("X-Own", "2")
				answer, err := (&http.Client{Transport: transport, Timeout: patience}).Do(r)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(answer.Body)
				_ = answer.Body.Close()
				if err != nil || !strings.HasPrefix(string(body), string(b.tag)+": POST") || !strings.Contains(string(body), `"hello" <nil> from 127.0.0.1:`) {
					t.Errorf("%s %q %v", answer.Status, body, err)
				}
			}
			if n := a.exchange.Counts(); n != (handover.Counts{Proxied: 3}) {
				t.Errorf("%+v", n)
			}
		})
	}
}

// A handshake of WebSocket moves as well, and over TLS it is proxied.
func TestWebSocket(t *testing.T) {
	server, client := certificate()
	for _, secure := range []bool{false, true} {
		base := t.TempDir()
		config := (*tls.Config)(nil)
		if secure {
			config = server
		}
		a, b := start(t, base, config), start(t, base, config)
		c := dial(t, a.addr)
		if secure {
			c = tls.Client(c, client)
		}
		// The first frame, "hi" under a mask of zeros, may come with the handshake.
		frame := "\x81\x82\x00\x00\x00\x00hi"
		early, late := frame, ""
		if secure {
			early, late = "", frame
		}
		fmt.Fprintf(c, "GET /%s/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n%s", b.tag, early)
		in := bufio.NewReader(c)
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.StatusCode != http.StatusSwitchingProtocols || r.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Fatal(r.Status, r.Header)
		}
		_, _ = io.WriteString(c, late)
		echo := make([]byte, 9)
		if _, err := io.ReadFull(in, echo); err != nil || string(echo) != "\x81\x07echo hi" {
			t.Errorf("%q, %v", echo, err)
		}
		_, _ = io.WriteString(c, "\x88\x82\x00\x00\x00\x00\x03\xe8")
		_ = c.Close()
	}
}

// Without the sibling nothing is done.
func TestNobody(t *testing.T) {
	a := start(t, t.TempDir(), nil)
	c := dial(t, a.addr)
	fmt.Fprint(c, "GET /XXXX/ HTTP/1.1\r\nHost: h\r\n\r\n")
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	if r.StatusCode != http.StatusNotFound {
		t.Error(r.Status)
	}
}

// A connection that a sibling was to have, which is dropped before it takes it, is served
// where it is.
func TestGivenBack(t *testing.T) {
	base := t.TempDir()
	a := start(t, base, nil)
	stuck, err := siblings.Open(&siblings.Options{Key: "test", Base: base})
	if err != nil {
		t.Fatal(err)
	}
	goOn := make(chan struct{})
	stuck.Handle(siblings.Testing, func(siblings.Message) { <-goOn })
	stuck.Take(siblings.Connections, func(m siblings.Message) {
		if m.FD >= 0 {
			t.Error("the connection has arrived")
		}
	})
	if err := stuck.Start(); err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	defer close(goOn)
	if err := stuck.Send(a.tag, siblings.Connections, handover.Load(0)); err != nil {
		t.Fatal(err)
	}
	a.conns.Store(100)
	for end := time.Now().Add(patience); !a.exchange.Crowded(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the sibling is not heard")
		}
	}
	fill := func(megabytes int) error {
		for range megabytes {
			if err := a.siblings.Send(stuck.Tag(), siblings.Testing, make([]byte, 1<<20)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := fill(8); err != nil {
		t.Fatal(err)
	}
	c := dial(t, a.addr)
	fmt.Fprint(c, "GET /lasting HTTP/1.1\r\nHost: h\r\n\r\n")
	for end := time.Now().Add(patience); a.exchange.Counts().Offered == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection is not offered")
		}
	}
	if err := fill(40); !errors.Is(err, siblings.ErrGone) {
		t.Fatal(err)
	}
	if got := read(t, bufio.NewReader(c)); got != string(a.tag) {
		t.Errorf("%s answers, want %s", got, a.tag)
	}
}

// A connection that comes when the worker takes none any more is answered.
func TestLate(t *testing.T) {
	base := t.TempDir()
	a, b := start(t, base, nil), start(t, base, nil)
	_ = b.exchange.Close()
	c := dial(t, a.addr)
	fmt.Fprintf(c, "GET /%s/ HTTP/1.1\r\nHost: h\r\n\r\n", b.tag)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil || r.StatusCode != http.StatusBadRequest || string(body) != `{"code":1,"message":"Session ID unknown"}` {
		t.Error(r.Status, string(body), err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection stays open: %v", err)
	}
}
