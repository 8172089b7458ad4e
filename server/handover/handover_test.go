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
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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

// nobody is a tag that no worker has: one's own is four letters of 64, drawn by lot.
const nobody siblings.Tag = "none"

// Without the sibling nothing is done.
func TestNobody(t *testing.T) {
	a := start(t, t.TempDir(), nil)
	c := dial(t, a.addr)
	fmt.Fprintf(c, "GET /%s/ HTTP/1.1\r\nHost: h\r\n\r\n", nobody)
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
	fill := func(megabytes int) error { return a.fill(stuck.Tag(), megabytes) }
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

// fill sends megabytes to a sibling.
func (w *worker) fill(to siblings.Tag, megabytes int) error {
	for range megabytes {
		if err := w.siblings.Send(to, siblings.Testing, make([]byte, 1<<20)); err != nil {
			return err
		}
	}
	return nil
}

// stopped is a sibling that is there, and does not answer.
type stopped struct {
	t   *testing.T
	tag siblings.Tag
	l   *net.UnixListener
}

func startStopped(t *testing.T, base string) *stopped {
	t.Helper()
	const tag = "stop"
	folder := filepath.Join(base, fmt.Sprint("chaussette-", os.Geteuid()), "test")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(folder, tag), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as one that is killed
	t.Cleanup(func() { _ = l.Close() })
	return &stopped{t, tag, l}
}

// goOn has it answer, and serve the connections that it is given, until the end of c.
func (s *stopped) goOn() (c *net.UnixConn) {
	s.t.Helper()
	_ = s.l.SetDeadline(time.Now().Add(patience))
	for {
		c, err := s.l.AcceptUnix()
		if err != nil {
			s.t.Fatal(err)
		}
		// A hello, which is sent back as its own. There may be some on connections that
		// were given up.
		hello := make([]byte, 4096)
		n, err := c.Read(hello)
		if err == nil {
			own := regexp.MustCompile(`"tag":"[^"]*"`).ReplaceAll(hello[:n], []byte(`"tag":"`+string(s.tag)+`"`))
			_, err = c.Write(own)
		}
		if err != nil {
			_ = c.Close()
			continue
		}
		return c
	}
}

func (s *stopped) serve(c *net.UnixConn, n int) {
	s.t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	payload, oob := make([]byte, 64<<10), make([]byte, 256)
	for n > 0 {
		_, size, _, _, err := c.ReadMsgUnix(payload, oob)
		if err != nil {
			s.t.Fatal(err)
		}
		messages, err := syscall.ParseSocketControlMessage(oob[:size])
		if err != nil {
			s.t.Fatal(err)
		}
		for _, m := range messages {
			fds, err := syscall.ParseUnixRights(&m)
			if err != nil {
				s.t.Fatal(err)
			}
			for _, fd := range fds {
				_, err := syscall.Write(fd, []byte("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"+string(s.tag)))
				if err := errors.Join(err, syscall.Close(fd)); err != nil {
					s.t.Error(err)
				}
				n--
			}
		}
	}
}

// A request for a sibling that is stopped waits for it, and goes to it when it goes on. When
// that dies, or stays away, the client is told that its session is gone.
func TestAway(t *testing.T) {
	for _, outcome := range []string{"it goes on", "it dies", "it stays away", "this worker ends"} {
		t.Run(outcome, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			away := startStopped(t, base)
			a := start(t, base, nil)
			const n = 3
			var conns []net.Conn
			for range n {
				c := dial(t, a.addr)
				fmt.Fprintf(c, "GET /%s/ HTTP/1.1\r\nHost: h\r\n\r\n", away.tag)
				conns = append(conns, c)
			}
			for end := time.Now().Add(patience); a.exchange.Held() < n; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d connections wait for the sibling", a.exchange.Held())
				}
			}
			want := `{"code":1,"message":"Session ID unknown"}`
			switch outcome {
			case "it goes on":
				want = string(away.tag)
				c := away.goOn()
				defer c.Close()
				away.serve(c, n)
			case "it dies":
				_ = away.l.Close()
			case "it stays away":
				a.exchange.Late(time.Minute)
			case "this worker ends":
				_ = a.exchange.Close()
			}
			for _, c := range conns {
				r, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(r.Body)
				_ = r.Body.Close()
				if err != nil || string(body) != want {
					t.Errorf("%q, %v, want %q", body, err, want)
				}
			}
			if n := a.exchange.Held(); n != 0 {
				t.Errorf("%d connections are held still", n)
			}
		})
	}
}

// Not more than so many connections wait for siblings that are away.
func TestTooManyAway(t *testing.T) {
	base := t.TempDir()
	away := startStopped(t, base)
	a := start(t, base, nil)
	for i := range handover.MaxHeld {
		fmt.Fprintf(dial(t, a.addr), "GET /%s/%d HTTP/1.1\r\nHost: h\r\n\r\n", away.tag, i)
	}
	for end := time.Now().Add(patience); a.exchange.Held() < handover.MaxHeld; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections wait for the sibling", a.exchange.Held())
		}
	}
	c := dial(t, a.addr)
	fmt.Fprintf(c, "GET /%s/ HTTP/1.1\r\nHost: h\r\n\r\n", away.tag)
	if r, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || r.StatusCode != http.StatusNotFound {
		t.Error(r, err)
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
