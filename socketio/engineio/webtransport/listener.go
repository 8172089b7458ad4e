package webtransport

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	wt "github.com/quic-go/webtransport-go"

	"github.com/chaussette/chaussette/socketio/engineio"
)

// Options of a Listener.
type Options struct {
	// Engine is whose sessions they are. Its Options.Transports names WebTransport.
	Engine *engineio.Server
	// TLS has the certificates. Workers on one address have the same.
	TLS *tls.Config
	// Shared lets other processes of the same user listen on the address as well
	// (SO_REUSEPORT). The kernel spreads connections over them by their addresses, and
	// spreads them anew when one comes or goes: who gets a packet of another's connection
	// says so, and the client, which hears that the connection has ended, comes back.
	Shared bool
	// MaxConns bounds the connections; 0 is no bound. Beyond it new ones are refused.
	MaxConns int
	// MaxHeaderSize bounds the headers of a request, in bytes; 0 is 1 MiB.
	MaxHeaderSize int
	// Logger is told of clients whose sessions do not come about. Nil discards.
	Logger *slog.Logger
}

// Listener is a UDP socket, and those who come by it.
type Listener struct {
	engine *engineio.Server
	log    *slog.Logger
	max    int64

	socket    *net.UDPConn
	transport *quic.Transport
	listener  *quic.EarlyListener
	http      *http3.Server
	sessions  *wt.Server

	conns   atomic.Int64 // those in a handshake as well
	pending atomic.Int64 // in a handshake

	mu     sync.Mutex // guards what follows
	open   map[*quic.Conn]struct{}
	serves sync.WaitGroup // not joined once closed
	closed bool
	empty  chan struct{} // closed when no connection is left after that
}

// What a client may have us keep. It opens a session with one stream on each connection, and
// some clients keep more than one session on a connection.
const (
	maxStreams    = 16      // of a connection, in both directions
	maxUniStreams = 16      // three are HTTP/3's
	maxStreamData = 1 << 20 // bytes of a stream that were not read yet
	maxConnData   = 2 << 20
)

// unvalidated is how many handshakes may be under way before clients first have to show that
// they are where they say (RFC 9000, 8.1.2).
const unvalidated = 256

// Listen opens the UDP address, "host:port". Serve serves it.
func Listen(address string, o *Options) (*Listener, error) {
	config := net.ListenConfig{}
	if o.Shared {
		config.Control = reusePort
	}
	pc, err := config.ListenPacket(context.Background(), "udp", address)
	if err != nil {
		return nil, err
	}
	l := &Listener{engine: o.Engine, log: o.Logger, max: int64(o.MaxConns), socket: pc.(*net.UDPConn), open: map[*quic.Conn]struct{}{}}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.http = &http3.Server{
		Handler:        http.HandlerFunc(l.serveHTTP),
		MaxHeaderBytes: o.MaxHeaderSize,
		IdleTimeout:    idle,
	}
	wt.ConfigureHTTP3Server(l.http)
	l.sessions = &wt.Server{H3: l.http, CheckOrigin: func(*http.Request) bool { return true }} // AdmitWebTransport has
	key, err := resetKey(o.TLS)
	if err != nil {
		_ = pc.Close()
		return nil, fmt.Errorf("stateless reset: %w", err)
	}
	l.transport = &quic.Transport{
		Conn:                l.socket,
		StatelessResetKey:   key,
		ConnectionIDLength:  20, // the longest: a packet as short as a reset gets none, and this is in each
		ConnContext:         l.arrive,
		VerifySourceAddress: func(net.Addr) bool { return l.pending.Load() > unvalidated },
	}
	l.listener, err = l.transport.ListenEarly(http3.ConfigureTLSConfig(o.TLS), l.quicConfig())
	if err != nil {
		_ = l.transport.Close()
		_ = pc.Close()
		return nil, err
	}
	return l, nil
}

// idle is how long a connection is kept that has no session.
const idle = 30 * time.Second

func (l *Listener) quicConfig() *quic.Config {
	o := l.engine.Options()
	c := &quic.Config{
		// The heartbeats find out who has gone.
		MaxIdleTimeout:                   max(idle, o.PingInterval+o.PingTimeout),
		MaxIncomingStreams:               maxStreams,
		MaxIncomingUniStreams:            maxUniStreams,
		MaxStreamReceiveWindow:           maxStreamData,
		MaxConnectionReceiveWindow:       maxConnData,
		EnableDatagrams:                  true,
		EnableStreamResetPartialDelivery: true,
	}
	if o.PingInterval >= idle-idle/6 {
		// They come too seldom for browsers, which give a silent connection up after 30 s.
		c.KeepAlivePeriod = idle / 2
	}
	return c
}

// resetKey is the same for all who have the same certificate, so that each can end a
// connection whose worker it is not, or was before it began anew (RFC 9000, 10.3).
func resetKey(config *tls.Config) (*quic.StatelessResetKey, error) {
	key := new(quic.StatelessResetKey)
	if len(config.Certificates) > 0 {
		if secret, err := x509.MarshalPKCS8PrivateKey(config.Certificates[0].PrivateKey); err == nil {
			b, err := hkdf.Key(sha256.New, secret, nil, "chaussette webtransport stateless reset", len(key))
			copy(key[:], b)
			return key, err
		}
	}
	_, err := rand.Read(key[:]) // the key cannot be read, or there is none yet
	return key, err
}

// Addr is the address of the socket.
func (l *Listener) Addr() net.Addr { return l.socket.LocalAddr() }

// Conns is how many connections there are.
func (l *Listener) Conns() int { return int(l.conns.Load()) }

type arrivalKey struct{}

var errFull = errors.New("too many connections")

// arrive counts a connection whose first packet has come.
func (l *Listener) arrive(ctx context.Context, client *quic.ClientInfo) (context.Context, error) {
	if n := l.conns.Add(1); l.max > 0 && n > l.max {
		l.conns.Add(-1)
		l.log.Warn("webtransport connection refused", "reason", errFull, "remote", client.RemoteAddr)
		return nil, errFull
	}
	l.pending.Add(1)
	arrived := sync.OnceFunc(func() { l.pending.Add(-1) })
	context.AfterFunc(ctx, func() {
		arrived()
		l.conns.Add(-1)
	})
	return context.WithValue(ctx, arrivalKey{}, arrived), nil
}

// Serve accepts sessions until Close, and returns nil then.
func (l *Listener) Serve() error {
	for {
		conn, err := l.listener.Accept(context.Background())
		if errors.Is(err, quic.ErrServerClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept webtransport: %w", err)
		}
		if !l.add(conn) {
			_ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
		}
	}
}

func (l *Listener) add(conn *quic.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.open[conn] = struct{}{}
	l.serves.Go(func() { l.serve(conn) })
	return true
}

// serve serves a connection to its end.
func (l *Listener) serve(conn *quic.Conn) {
	defer func() {
		l.mu.Lock()
		delete(l.open, conn)
		if l.closed && len(l.open) == 0 {
			close(l.empty)
		}
		l.mu.Unlock()
	}()
	select {
	case <-conn.HandshakeComplete():
		conn.Context().Value(arrivalKey{}).(func())()
	case <-conn.Context().Done():
		return
	}
	if err := l.sessions.ServeQUICConn(conn); err != nil {
		l.log.Info("webtransport connection refused", "error", err, "remote", conn.RemoteAddr())
	}
}

// parting is how long clients may take to close the connections of sessions that have
// ended. Chromium tells a page that a connection is lost, where it was about to tell it of
// the session's end.
const parting = 500 * time.Millisecond

// Close cuts the connections that are left after a moment, and returns when nothing runs any
// more. The engine has been drained or closed before, with which the sessions have ended.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed, l.empty = true, make(chan struct{})
	if len(l.open) == 0 {
		close(l.empty)
	}
	l.mu.Unlock()
	err := l.listener.Close()
	late := time.NewTimer(parting)
	defer late.Stop()
	select {
	case <-l.empty:
	case <-late.C:
	}
	l.mu.Lock()
	open := make([]*quic.Conn, 0, len(l.open))
	for conn := range l.open {
		open = append(open, conn)
	}
	l.mu.Unlock()
	for _, conn := range open {
		_ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
	}
	l.serves.Wait()
	return errors.Join(err, l.sessions.Close(), l.transport.Close(), l.socket.Close())
}
