package epoll

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/loop"
	"github.com/chaussette/chaussette/ws"
)

// Supported says whether the system has epoll.
const Supported = true

// Options are what an Engine is made with. The zero value serves.
type Options struct {
	// Loops is how many event loops there are. 0 means one for every two processors:
	// a loop that has enough to do works cheapest, and the kernel's part of the network
	// needs about as much as the loop's.
	Loops int
	// Otherwise carries connections that have no file descriptor of their own, as TLS.
	// Nil refuses them.
	Otherwise ws.Engine
}

// Engine is a ws.Engine. Make one with New.
type Engine struct {
	config    *ws.Config
	loops     *loop.Group
	otherwise ws.Engine
	open      atomic.Int64 // WebSockets; the loops may have handshakes besides
}

var _ ws.Engine = (*Engine)(nil)

// New starts an Engine; nil stands for zero values. It runs until Close.
func New(config *ws.Config, options *Options) (*Engine, error) {
	if config == nil {
		config = &ws.Config{}
	}
	if options == nil {
		options = &Options{}
	}
	n := options.Loops
	if n <= 0 {
		n = max(runtime.GOMAXPROCS(0)/2, 1)
	}
	loops, err := loop.NewGroup(n)
	if err != nil {
		return nil, fmt.Errorf("start event loops: %w", err)
	}
	return &Engine{config: config.WithDefaults(), loops: loops, otherwise: options.Otherwise}, nil
}

// Config implements ws.Engine.
func (e *Engine) Config() *ws.Config { return e.config }

// Len implements ws.Engine.
func (e *Engine) Len() int {
	n := int(e.open.Load())
	if e.otherwise != nil {
		n += e.otherwise.Len()
	}
	return n
}

// Loops are the event loops, on which others may have connections as well, which they close
// before the Engine.
func (e *Engine) Loops() *loop.Group { return e.loops }

// Takeovers is how often a loop was taken over from a slow handler.
func (e *Engine) Takeovers() uint64 { return e.loops.Takeovers() }

// Conns implements ws.Engine.
func (e *Engine) Conns() iter.Seq[*ws.Conn] {
	return func(yield func(*ws.Conn) bool) {
		more := true
		e.loops.Conns(func(o loop.Owner) bool {
			if c, ok := o.(*conn); ok && c.opened.Load() {
				more = yield(&c.link.Conn)
			}
			return more
		})
		if more && e.otherwise != nil {
			e.otherwise.Conns()(yield)
		}
	}
}

// Wrap returns h with e as the Engine that ws.Accept finds.
func (e *Engine) Wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(ws.WithEngine(r.Context(), e)))
	})
}

// Attach implements ws.Engine.
func (e *Engine) Attach(nc net.Conn, buffered []byte, h *ws.Handshake) (*ws.Conn, error) {
	raw, ok := bare(nc)
	if !ok {
		if e.otherwise != nil {
			return e.otherwise.Attach(nc, buffered, h)
		}
		nc.Close()
		return nil, fmt.Errorf("websocket: a %T cannot be carried by an event loop", nc)
	}
	fd, err := takeOut(raw)
	nc.Close() // the descriptor was duplicated; net's poller forgets its own
	if err != nil {
		return nil, err
	}
	return e.AttachFD(fd, buffered, h)
}

// bare returns what a server has wrapped. What TLS has wrapped is of no use.
func bare(nc net.Conn) (syscall.Conn, bool) {
	for {
		switch c := nc.(type) {
		case *net.TCPConn:
			return c, true
		case *net.UnixConn:
			return c, true
		case *tls.Conn:
			return nil, false
		case interface{ NetConn() net.Conn }:
			nc = c.NetConn()
		default:
			return nil, false
		}
	}
}

// takeOut returns a descriptor of the connection that net knows nothing of.
func takeOut(nc syscall.Conn) (int, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("take over the connection: %w", err)
	}
	fd := -1
	controlErr := raw.Control(func(given uintptr) {
		fd, err = unix.FcntlInt(given, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err := errors.Join(controlErr, err); err != nil {
		return -1, fmt.Errorf("take over the connection: %w", err)
	}
	return fd, nil
}

// AttachFD is Attach for a connected socket that is non-blocking. It belongs to the engine
// from now on, also if there is an error.
func (e *Engine) AttachFD(fd int, buffered []byte, h *ws.Handshake) (*ws.Conn, error) {
	c := &conn{engine: e}
	if err := e.loops.Add(&c.io, c, fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	c.attach(h, buffered)
	return &c.link.Conn, nil
}

// Adopt is AttachFD for a connection that is on the engine's loops already: that of d, the
// http.ResponseWriter of package loop/http1. The error is errors.ErrUnsupported, with nothing
// done, if it is not.
func (e *Engine) Adopt(d any, h *ws.Handshake) (*ws.Conn, error) {
	server, ok := d.(mover)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	c := &conn{engine: e}
	early, err := server.MoveTo(e.loops, &c.io, c)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("take over the connection: %w", err)
	}
	c.attach(h, early)
	return &c.link.Conn, nil
}

// mover is a server that leaves its connections on the loops.
type mover interface {
	MoveTo(group *loop.Group, to *loop.Conn, owner loop.Owner) (early []byte, err error)
}

// untouched is how long an app may leave a new connection alone before the engine starts
// to read it anyway, so that pings and the peer's end are seen.
const untouched = time.Second

// Close implements ws.Engine.
func (e *Engine) Close(ctx context.Context) error {
	var others error
	if e.otherwise != nil {
		others = e.otherwise.Close(ctx)
	}
	e.loops.Conns(func(o loop.Owner) bool {
		if c, ok := o.(*conn); ok && c.opened.Load() {
			c.link.CloseNow()
		}
		return true
	})
	wait := time.NewTicker(time.Millisecond)
	defer wait.Stop()
	for e.loops.Open() > 0 {
		select {
		case <-wait.C:
		case <-ctx.Done():
			e.loops.Close()
			return ctx.Err()
		}
	}
	e.loops.Close()
	return others
}
