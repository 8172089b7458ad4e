package epoll

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/loop"
)

// FDListener is what a Front accepts from: listener.Listener is one, which the event loops
// accept from themselves.
type FDListener interface {
	loop.Listener
	Addr() net.Addr
	Close() error
}

// FrontOptions say how a Front takes handshakes. The zero value serves.
type FrontOptions struct {
	// HeaderSize and HeaderTimeout bound a handshake. 0 means 64 KiB and 10 s. What is
	// larger is left to the HTTP server; past the time the client is answered 408.
	HeaderSize    int
	HeaderTimeout time.Duration
	// SendTimeout is TCP_USER_TIMEOUT of connections, 0 for the system's own.
	SendTimeout time.Duration
	// Context is where requests have their contexts from; nil is the background.
	Context context.Context
	// Inline says whether the handler may be called with r on the loop: it answers, or
	// gives the connection to a ws.Handler, and does not wait for what comes on it. It is
	// called on a goroutine otherwise, and always if Inline is nil.
	Inline func(r *http.Request) bool
	// Log hears of timeouts. Nil discards.
	Log *slog.Logger
}

// Front stands before an HTTP server: it reads the first request of each connection on
// the event loops, and calls a handler if that asks for WebSocket. All that an idle
// WebSocket costs is then what the loops need: net/http never had it. Everything else is
// the HTTP server's, for which the Front is a net.Listener.
type Front struct {
	engine   *Engine
	listener FDListener
	handler  http.Handler
	options  FrontOptions

	others  chan net.Conn
	pending atomic.Int64 // connections whose first request has not come
	closed  chan struct{}
	once    sync.Once
	tasks   sync.WaitGroup
	err     error // of accepting; before failed is closed
	failed  chan struct{}
}

// Front returns a Front for l, which it closes with itself.
func (e *Engine) Front(l FDListener, handler http.Handler, options *FrontOptions) *Front {
	f := &Front{engine: e, listener: l, handler: handler,
		others: make(chan net.Conn, 64), closed: make(chan struct{}), failed: make(chan struct{})}
	if options != nil {
		f.options = *options
	}
	if f.options.HeaderSize == 0 {
		f.options.HeaderSize = 64 << 10
	}
	if f.options.HeaderTimeout == 0 {
		f.options.HeaderTimeout = 10 * time.Second
	}
	if f.options.Context == nil {
		f.options.Context = context.Background()
	}
	if f.options.Log == nil {
		f.options.Log = slog.New(slog.DiscardHandler)
	}
	f.tasks.Go(f.accept)
	return f
}

func (f *Front) accept() {
	defer close(f.failed)
	f.err = f.engine.loops.Accept(f.listener, func(fd int) error {
		if f.options.SendTimeout > 0 {
			// It fails on Unix sockets, which do without.
			_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(f.options.SendTimeout.Milliseconds()))
		}
		c := &conn{engine: f.engine, shake: &shake{front: f}}
		if err := f.engine.loops.Add(&c.io, c, fd); err != nil {
			unix.Close(fd)
			return err
		}
		f.pending.Add(1)
		c.io.SetDeadline(f.options.HeaderTimeout)
		c.io.Lock()
		c.io.StartLocked()
		c.io.Unlock()
		return nil
	})
}

// Accept implements net.Listener, for connections that begin with anything else than a
// WebSocket handshake.
func (f *Front) Accept() (net.Conn, error) {
	failed := f.failed
	var late <-chan time.Time
	var end time.Time
	for {
		select {
		case c := <-f.others:
			return c, nil
		case <-f.closed:
			return nil, net.ErrClosed
		case <-failed:
			if !errors.Is(f.err, net.ErrClosed) {
				return nil, f.err
			}
			// The listener was closed. Some may be there whose first request just comes.
			failed = nil
			end = time.Now().Add(lastRequests)
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			late = tick.C
		case <-late:
			if f.pending.Load() == 0 || time.Now().After(end) {
				return nil, net.ErrClosed
			}
		}
	}
}

// lastRequests is how long Accept waits for what was accepted before the listener was
// closed.
const lastRequests = 500 * time.Millisecond

// Addr implements net.Listener.
func (f *Front) Addr() net.Addr { return f.listener.Addr() }

// Close implements net.Listener. Handshakes that have begun are finished.
func (f *Front) Close() error {
	var err error
	f.once.Do(func() {
		close(f.closed)
		err = f.listener.Close()
		f.tasks.Wait()
		for {
			select {
			case c := <-f.others:
				c.Close()
			default:
				return
			}
		}
	})
	return err
}

// give leaves a connection to the HTTP server, with what was read of it.
func (f *Front) give(fd int, read []byte) {
	defer f.pending.Add(-1)
	nc, err := netConn(fd)
	if err != nil {
		f.options.Log.Warn("a connection is lost", "error", err)
		return
	}
	select {
	case f.others <- &begun{Conn: nc, read: read}:
	case <-f.closed:
		nc.Close()
	}
}

// netConn makes a net.Conn of a descriptor, which it takes.
func netConn(fd int) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "connection")
	defer file.Close()
	return net.FileConn(file)
}

// begun is a connection of which something was read already.
type begun struct {
	net.Conn
	read []byte
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.read) > 0 {
		n := copy(p, b.read)
		if b.read = b.read[n:]; len(b.read) == 0 {
			b.read = nil
		}
		return n, nil
	}
	return b.Conn.Read(p)
}

// NetConn is the connection itself, once what was read is read again; b before.
func (b *begun) NetConn() net.Conn {
	if len(b.read) > 0 {
		return struct{ net.Conn }{b}
	}
	return b.Conn
}

// CloseWrite ends what this side sends.
func (b *begun) CloseWrite() error {
	if half, ok := b.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return b.Close()
}

// SyscallConn gives access to the descriptor.
func (b *begun) SyscallConn() (syscall.RawConn, error) {
	if c, ok := b.Conn.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, syscall.EINVAL
}
