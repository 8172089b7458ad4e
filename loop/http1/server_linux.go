package http1

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/loop"
)

// Supported says whether the system has what the package needs.
const Supported = true

// Listener is what a Server accepts from: listener.Listener is one, which the event loops
// accept from themselves.
type Listener interface {
	loop.Listener
	Addr() net.Addr
}

// Server serves connections. Its methods may be called from any goroutine.
type Server struct {
	options Options
	group   *loop.Group
	owned   bool // the group

	open     atomic.Int64 // connections, those that were taken out not
	refused  atomic.Int64 // of them one too many
	logged   atomic.Int64 // unix seconds of the last line about them
	draining atomic.Bool
	running  atomic.Int64 // handlers
	holding  atomic.Int64 // bytes of bodies that the system has until they are whole
	giving   atomic.Pointer[func(fd int) bool]
	locals   sync.Map // net.Addr by its text: of the server's side, there are few
}

// New starts the event loops.
func New(options *Options) (*Server, error) {
	group, err := NewLoops(options.Loops)
	if err != nil {
		return nil, err
	}
	s := On(group, options)
	s.owned = true
	return s, nil
}

// NewLoops starts n event loops, or where n is 0 as many as a Server has of its own.
func NewLoops(n int) (*loop.Group, error) {
	if n <= 0 {
		n = max(runtime.GOMAXPROCS(0)/2, 1)
	}
	group, err := loop.NewGroup(n)
	if err != nil {
		return nil, fmt.Errorf("start event loops: %w", err)
	}
	return group, nil
}

// On is New on loops that others use as well, and close after the server.
func On(group *loop.Group, options *Options) *Server {
	return &Server{options: options.withDefaults(), group: group}
}

// Serve accepts connections from l until that is closed, and serves them until Drain or
// Close. Its error is nil then, and otherwise why l cannot be accepted from.
func (s *Server) Serve(l Listener) error {
	var peer *Peer
	if local := fixed(l.Addr()); local != nil {
		peer = &Peer{Local: local}
	}
	err := s.group.Accept(l, func(fd int, from *unix.RawSockaddrAny) error { return s.take(fd, nil, peer, from) })
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// fixed is the address of a listener where it is that of every connection, and else nil.
func fixed(a net.Addr) net.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return nil
	}
	return a
}

// Peer is what a Server may be told of a connection's ends. Of what is missing the system
// is asked.
type Peer struct {
	Local  net.Addr
	Remote string
	// Context is where the connection's requests have their contexts from, in place of
	// Options.Context.
	Context context.Context
}

// Take serves a connection: a socket that does not block, which belongs to the server from
// now on, and what was read of it before. The error says that the loops are closed; the
// descriptor is closed then.
func (s *Server) Take(fd int, read []byte, peer *Peer) error { return s.take(fd, read, peer, nil) }

// take is Take for a connection that comes from an address; nil is not known.
func (s *Server) take(fd int, read []byte, peer *Peer, from *unix.RawSockaddrAny) error {
	o := &s.options
	if t := o.Limits.SendTimeout; t > 0 {
		// It fails on Unix sockets, which do without.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(t.Milliseconds()))
	}
	c := &conn{server: s, peer: peer}
	c.from.set(from)
	if limit := o.Limits.Connections; limit > 0 && int(s.open.Load()-s.refused.Load())+o.Carried() >= limit {
		if !s.refuse() {
			unix.Close(fd)
			return nil
		}
		c.bits |= refused
	}
	if len(read) > 0 {
		c.bits |= feeding | spoken // whoever looks sees that it has something to do
	}
	if err := s.group.Add(&c.io, c, fd); err != nil {
		unix.Close(fd)
		return err
	}
	s.open.Add(1)
	c.io.SetDeadline(cmpTimeout(o.Limits.HeaderTimeout, o.Limits.IdleTimeout))
	if len(read) > 0 {
		go func() { // a handler may take its time
			c.io.Lock()
			c.feed(read)
			c.start()
		}()
		return nil
	}
	c.start()
	return nil
}

func (c *conn) start() {
	c.io.Lock()
	c.io.TakingLocked()
	c.io.BriefLocked(true)                                          // behind a head may come a body that somebody else is to read
	if o := &c.server.options; o.Goroutines && o.AccessLog == nil { // a log may block
		c.io.QuickLocked()
	}
	c.io.StartLocked()
	c.io.Unlock()
}

// cmpTimeout is the first that bounds anything.
func cmpTimeout(a, b time.Duration) time.Duration {
	if a > 0 {
		return a
	}
	return b
}

const refusedAtOnce = 64

// refuse makes room for a connection that is one too many, and is false where there are
// too many of those.
func (s *Server) refuse() bool {
	if now := time.Now().Unix(); s.logged.Swap(now) != now {
		s.options.Log.Warn("connections are refused with 503: the limit is reached", "max-connections", s.options.Limits.Connections)
	}
	if s.refused.Add(1) > refusedAtOnce {
		s.refused.Add(-1)
		return false
	}
	return true
}

// Context is where requests have their contexts from.
func (s *Server) Context() context.Context { return s.options.Context }

// Connections is how many are open. Those that were upgraded or hijacked are not counted.
func (s *Server) Connections() int { return int(s.open.Load()) }

// Takeovers is how often a loop was taken over from a slow handler.
func (s *Server) Takeovers() uint64 { return s.group.Takeovers() }

// conns calls f for each connection.
func (s *Server) conns(f func(*conn)) {
	s.group.Conns(func(o loop.Owner) bool {
		if c, ok := o.(*conn); ok && c.server == s {
			f(c)
		}
		return true
	})
}

// StartDraining has each connection end with its next response (Connection: close).
// Connections are still taken.
func (s *Server) StartDraining() { s.draining.Store(true) }

// HandOver has give take each connection at the moment when it waits for a request: at once,
// and from now on as it comes there. So the answers of a server that drains do not end it.
// give must not block, nor call the server. Where it is true the connection goes on
// elsewhere, by a descriptor of its own, and this process's is closed; otherwise it stays.
// HandOver(nil) ends this.
func (s *Server) HandOver(give func(fd int) bool) {
	if give == nil {
		s.giving.Store(nil)
		return
	}
	s.giving.Store(&give)
	s.conns(func(c *conn) {
		c.io.Lock()
		c.handOverLocked()
		c.io.Unlock()
	})
}

// ends says whether an answer ends its connection, since the server drains.
func (s *Server) ends() bool { return s.draining.Load() && s.giving.Load() == nil }

// look is how often a drain looks after connections.
const look = 10 * time.Millisecond

// WaitIdle waits until no connection is open, or ctx ends.
func (s *Server) WaitIdle(ctx context.Context) error {
	return s.wait(ctx, func() {})
}

func (s *Server) wait(ctx context.Context, each func()) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		each()
		if s.open.Load() == 0 && s.running.Load() == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Drain ends the server without breaking a request. Nothing is accepted any more. Drain
// waits for running requests, and for one request more on each connection that is kept
// alive or new: a client may be sending it just now. A connection on which nothing has come
// for the time of quiet is closed.
// Where ctx ends first, Drain closes what is left, and returns ctx.Err().
func (s *Server) Drain(ctx context.Context, quiet time.Duration) error {
	s.StartDraining()
	start := time.Now()
	err := s.wait(ctx, func() {
		s.conns(func(c *conn) { c.quiesce(start, quiet) })
	})
	if err != nil {
		s.options.Log.Warn("connections are cut: their requests took longer than the graceful timeout", "connections", s.open.Load())
		s.cut()
	}
	return err
}

func (s *Server) cut() {
	s.conns(func(c *conn) {
		c.io.Lock()
		c.io.CutLocked(nil)
		c.io.Unlock()
	})
}

// Close closes the connections at once, waits for their handlers, and ends the loops if they
// are the server's own. Those who accept have ended before.
func (s *Server) Close() error {
	s.draining.Store(true)
	s.cut()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := s.wait(ctx, s.cut)
	if s.owned {
		s.group.Close()
	}
	if err != nil {
		return fmt.Errorf("%d handlers do not return", s.open.Load())
	}
	return nil
}

// closeTimeout bounds how long Close waits for what runs.
const closeTimeout = 5 * time.Second
