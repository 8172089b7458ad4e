package std

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// acceptor is the listener that net/http sees: it counts connections, and keeps those
// over the limit from the app.
type acceptor struct {
	net.Listener
	engine *Engine
}

func (a *acceptor) Accept() (net.Conn, error) {
	e := a.engine
	for {
		accepted, err := a.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if e.limits.SendTimeout > 0 {
			setUserTimeout(accepted, e.limits.SendTimeout)
		}
		c := &conn{Conn: accepted, engine: e}
		if k, ok := accepted.(interface{ KeptAlive() bool }); ok {
			c.kept = k.KeptAlive()
		}
		if !e.conns.add(c, e.limits.Connections, e.carried()) {
			e.refusals.take(accepted, e)
			continue
		}
		return c, nil
	}
}

// refusals answers the connections that are one too many: with 503, and no more than a
// few at a time, since each costs a descriptor as well.
type refusals struct {
	server  *http.Server
	conns   chan net.Conn
	serving sync.Once
	closed  chan struct{}
	close1  sync.Once
	open    atomic.Int64
	logged  atomic.Int64 // unix seconds of the last line in the log
}

const refusedAtOnce = 64

func newRefusals(server *http.Server) *refusals {
	server.SetKeepAlivesEnabled(false)
	return &refusals{server: server, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func busy(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, "The server is busy: too many connections are open.", http.StatusServiceUnavailable)
}

func (r *refusals) take(c net.Conn, e *Engine) {
	if now := time.Now().Unix(); r.logged.Swap(now) != now {
		e.log.Warn("connections are refused with 503: the limit is reached", "max-connections", e.limits.Connections)
	}
	if r.open.Load() >= refusedAtOnce {
		_ = c.Close()
		return
	}
	r.serving.Do(func() {
		if e.tls {
			go func() { _ = r.server.ServeTLS(r, "", "") }()
		} else {
			go func() { _ = r.server.Serve(r) }()
		}
	})
	r.open.Add(1)
	select {
	case r.conns <- &refused{Conn: c, refusals: r}:
	case <-r.closed:
		_ = c.Close()
	}
}

// Accept makes refusals the net.Listener of its own server.
func (r *refusals) Accept() (net.Conn, error) {
	select {
	case c := <-r.conns:
		return c, nil
	case <-r.closed:
		return nil, net.ErrClosed
	}
}

// Close is called by the server as well, when it closes its listener.
func (r *refusals) Close() error {
	r.close1.Do(func() { close(r.closed) })
	return nil
}

// Addr has no use, and no address.
func (r *refusals) Addr() net.Addr { return &net.TCPAddr{} }

func (r *refusals) close() error {
	_ = r.Close()
	return r.server.Close()
}

// refused is a connection that is one too many.
type refused struct {
	net.Conn
	refusals *refusals
	closed   atomic.Bool
}

func (c *refused) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.refusals.open.Add(-1)
	}
	return c.Conn.Close()
}
