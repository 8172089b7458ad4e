package webtransport_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	wt "github.com/quic-go/webtransport-go"

	"github.com/chaussette/chaussette/internal/certtest"
	"github.com/chaussette/chaussette/socketio/engineio"
	"github.com/chaussette/chaussette/socketio/engineio/webtransport"
)

const patience = 20 * time.Second

// echo is an app that sends back what it gets, closes sessions that say bye, and notes why
// they end.
type echo struct{ reasons chan engineio.Reason }

func (echo) Open(*engineio.Session) {}
func (echo) Message(s *engineio.Session, m engineio.Message) {
	_ = s.Send(m)
	if string(m.Data) == "bye" {
		s.Close()
	}
}
func (e echo) Close(_ *engineio.Session, reason engineio.Reason) { e.reasons <- reason }
func (e echo) ended(t *testing.T, want engineio.Reason) {
	t.Helper()
	select {
	case reason := <-e.reasons:
		if reason != want {
			t.Errorf("ended by %q, want %q", reason, want)
		}
	case <-time.After(patience):
		t.Fatal("the session has not ended")
	}
}

func certificate() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certtest.Get().Certificate}}
}

// served is a listener that serves.
type served struct {
	*webtransport.Listener
	echo
	engine *engineio.Server
	end    func()
}

func serve(t *testing.T, address string, e engineio.Options, o webtransport.Options) *served {
	t.Helper()
	if e.Transports == nil {
		e.Transports = []engineio.TransportName{engineio.Polling, engineio.WebTransport}
	}
	h := echo{make(chan engineio.Reason, 100)}
	o.Engine, o.TLS = engineio.NewServer(h, &e), certificate()
	l, err := webtransport.Listen(address, &o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Serve() }()
	s := &served{Listener: l, echo: h, engine: o.Engine}
	s.end = sync.OnceFunc(func() {
		if err := errors.Join(o.Engine.Close(), l.Close(), <-ended); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(s.end)
	return s
}

func clientTLS() *tls.Config {
	return &tls.Config{RootCAs: certtest.Get().Pool(), NextProtos: []string{http3.NextProtoH3}}
}

// dial opens a session, and returns the status that answered it.
func dial(t *testing.T, l *webtransport.Listener, path string, header http.Header) (*wt.Session, int, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	d := &wt.Dialer{TLSClientConfig: clientTLS(), DialAddr: quic.DialAddr}
	t.Cleanup(func() { _ = d.Close() })
	r, session, err := d.Dial(ctx, "https://"+l.Addr().String()+path, header)
	if r == nil {
		return session, 0, err
	}
	if session != nil {
		t.Cleanup(func() { _ = session.CloseWithError(0, "") })
	}
	return session, r.StatusCode, err
}

// open opens a session of Engine.IO.
func open(t *testing.T, l *webtransport.Listener) (*wt.Session, *wt.Stream) {
	t.Helper()
	session, _, err := dial(t, l, "/engine.io/", nil)
	if err != nil {
		t.Fatal(err)
	}
	st, err := session.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	_ = st.SetDeadline(time.Now().Add(patience))
	write(t, st, "\x010")
	// {"sid":... is less than 126 bytes
	if opened := read(t, st, 1); opened[0] >= 126 || !strings.HasPrefix(read(t, st, int(opened[0])), `0{"sid":"`) {
		t.Fatalf("%q", opened)
	}
	return session, st
}

func write(t *testing.T, st *wt.Stream, s string) {
	t.Helper()
	if _, err := st.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, st *wt.Stream, n int) string {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(st, b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// closed waits for the end of a session, and returns why it came.
func closed(t *testing.T, session *wt.Session) error {
	t.Helper()
	select {
	case <-session.Context().Done():
	case <-time.After(patience):
		t.Fatal("the session has not ended")
	}
	_, err := session.AcceptStream(t.Context())
	return err
}

func TestListener(t *testing.T) {
	s := serve(t, "127.0.0.1:0", engineio.Options{}, webtransport.Options{})
	session, st := open(t, s.Listener)
	write(t, st, "\x064hello\x82\x01\x02")
	if got := read(t, st, 10); got != "\x064hello\x82\x01\x02" {
		t.Errorf("%q", got)
	}
	if n := s.Conns(); n != 1 {
		t.Errorf("%d connections", n)
	}
	_ = session.CloseWithError(0, "")
	s.ended(t, engineio.TransportClose)
}

// A page is told of the end in peace: not that its connection is lost, and after the last
// message.
func TestListenerCloses(t *testing.T) {
	s := serve(t, "127.0.0.1:0", engineio.Options{}, webtransport.Options{})
	session, st := open(t, s.Listener)
	write(t, st, "\x044bye")
	if got := read(t, st, 5); got != "\x044bye" {
		t.Errorf("%q", got)
	}
	var end *wt.SessionError
	if err := closed(t, session); !errors.As(err, &end) || !end.Remote || end.ErrorCode != 0 {
		t.Errorf("the client gets %v", err)
	}
	s.ended(t, engineio.ForcedClose)

	session, st = open(t, s.Listener)
	write(t, st, "\x00")
	if err := closed(t, session); !errors.As(err, &end) || !end.Remote || end.ErrorCode != 0 {
		t.Errorf("the client gets %v", err)
	}
	s.ended(t, engineio.ParseError)

	session, st = open(t, s.Listener)
	write(t, st, "\x024x")
	read(t, st, 3)
	if err := s.engine.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if err := closed(t, session); !errors.As(err, &end) || !end.Remote || end.ErrorCode != 0 {
		t.Errorf("the client gets %v", err)
	}
	s.ended(t, engineio.ServerShutdown)
}

func TestListenerRefuses(t *testing.T) {
	s := serve(t, "127.0.0.1:0", engineio.Options{}, webtransport.Options{})
	for _, c := range []struct {
		name, path, origin string
		status             int
	}{
		{"another path", "/", "", http.StatusNotFound},
		{"another origin", "/engine.io/", "https://example.com", http.StatusForbidden},
		{"its own origin", "/engine.io/", "https://" + s.Addr().String(), http.StatusOK},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := http.Header{}
			if c.origin != "" {
				header.Set("Origin", c.origin)
			}
			if _, status, err := dial(t, s.Listener, c.path, header); status != c.status {
				t.Errorf("status %d, error %v, want %d", status, err, c.status)
			}
		})
	}
	t.Run("no WebTransport", func(t *testing.T) {
		transport := &http3.Transport{TLSClientConfig: clientTLS()}
		defer transport.Close()
		r, err := (&http.Client{Transport: transport}).Get("https://" + s.Addr().String() + "/engine.io/?EIO=4&transport=polling")
		if err != nil || r.StatusCode != http.StatusNotFound {
			t.Fatalf("%v %v", r, err)
		}
		_ = r.Body.Close()
	})
}

func TestListenerStreamNeverComes(t *testing.T) {
	s := serve(t, "127.0.0.1:0", engineio.Options{UpgradeTimeout: 50 * time.Millisecond}, webtransport.Options{})
	session, _, err := dial(t, s.Listener, "/engine.io/", nil)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, session)
	// Nor its first packet.
	if session, _, err = dial(t, s.Listener, "/engine.io/", nil); err != nil {
		t.Fatal(err)
	}
	st, err := session.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	write(t, st, "\x02")
	closed(t, session)
	if n := s.engine.Len(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

func TestListenerMaxConns(t *testing.T) {
	s := serve(t, "127.0.0.1:0", engineio.Options{}, webtransport.Options{MaxConns: 1})
	session, _ := open(t, s.Listener)
	if _, _, err := dial(t, s.Listener, "/engine.io/", nil); err == nil {
		t.Error("a second connection is let in")
	}
	_ = session.CloseWithError(0, "")
	for end := time.Now().Add(patience); s.Conns() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a connection that was closed is counted")
		}
	}
	open(t, s.Listener)
}

// An address that is taken is an error, unless those on it share it.
func TestListenTaken(t *testing.T) {
	first := serve(t, "127.0.0.1:0", engineio.Options{}, webtransport.Options{})
	o := &webtransport.Options{Engine: first.engine, TLS: certificate(), Shared: true}
	if _, err := webtransport.Listen(first.Addr().String(), o); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v, want EADDRINUSE", err)
	}
	shared := serve(t, "127.0.0.1:0", engineio.Options{}, webtransport.Options{Shared: true})
	other := serve(t, shared.Addr().String(), engineio.Options{}, webtransport.Options{Shared: true})
	for range 5 { // to whomever the kernel gives it
		_, st := open(t, shared.Listener)
		write(t, st, "\x024x")
		read(t, st, 3)
	}
	if n := shared.engine.Len() + other.engine.Len(); n != 5 {
		t.Errorf("%d sessions", n)
	}
}

// A worker that gets the packets of a connection which another one had says so. Its client
// need not wait for a heartbeat.
func TestStatelessReset(t *testing.T) {
	killed := serve(t, "127.0.0.1:0", engineio.Options{}, webtransport.Options{})
	session, st := open(t, killed.Listener)
	killed.Abandon()
	next := serve(t, killed.Addr().String(), engineio.Options{}, webtransport.Options{})
	write(t, st, "\x024x")
	var reset *quic.StatelessResetError
	if err := closed(t, session); !errors.As(err, &reset) {
		t.Errorf("the client gets %v", err)
	}
	if n := next.engine.Len(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}
