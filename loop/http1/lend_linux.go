package http1

import (
	"io"
	"net"
	"net/http"
	"runtime"
	"syscall"
	"time"
)

// lendable is the least of a body that is worth to be read by somebody else, in bytes.
const lendable = 4 << 10

// ReadBy has read take what is left of the body from the connection itself, in place of Read:
// at most limit bytes, which toTheEnd says are all there are, and within patience each, where
// that is not 0. read returns how many it took. The error is http.ErrNotSupported where it
// was not called: Read first what has come.
func (r *bodyReader) ReadBy(read func(c net.Conn, limit int64, toTheEnd bool, patience time.Duration) (int64, error)) (int64, error) {
	x := r.w.x
	p, c := x.pipe, x.conn
	if p == nil || x.chunks != nil {
		return 0, http.ErrNotSupported
	}
	c.io.Lock()
	if x.left == 0 {
		c.io.Unlock()
		return 0, http.ErrNotSupported // there is no more of it
	}
	c.io.PauseLocked()
	for c.bits&feeding != 0 || c.io.ReadingLocked() {
		// The loop has something of it in its hands, which it is about to pass on.
		c.io.Unlock()
		runtime.Gosched()
		c.io.Lock()
	}
	if len(p.b) > 0 || p.err != nil || x.left < lendable || x.over || c.io.FDLocked() < 0 {
		if !p.paused || len(p.b) == 0 {
			p.paused, p.asked = false, time.Now()
			c.io.ResumeLocked()
		}
		c.io.Unlock()
		return 0, http.ErrNotSupported
	}
	if p.asks {
		p.asks = false
		_ = c.io.WriteLocked(continueLine, nil, false)
	}
	p.paused = true // so that the wait is not taken for the client's
	limit := x.left
	c.io.Unlock()
	n, err := read(lentConn{nil, c}, limit, true, c.server.options.Limits.BodyTimeout)
	c.io.Lock()
	x.left -= n
	x.got += n
	p.paused, p.asked = false, time.Now()
	if x.left == 0 {
		x.receiving = false
		if p.err == nil {
			p.err = io.EOF
		}
	} else if err != nil {
		p.failLocked(err)
		x.keep = false
	}
	c.io.ResumeLocked()
	c.io.Unlock()
	if err != nil {
		r.w.bodyFailed(err)
	}
	return n, err
}

// lentConn is a connection whose descriptor may be had, and nothing else.
type lentConn struct {
	net.Conn
	c *conn
}

// SyscallConn implements syscall.Conn.
func (l lentConn) SyscallConn() (syscall.RawConn, error) { return lentRaw{l.c}, nil }

type lentRaw struct{ c *conn }

// Control implements syscall.RawConn. The connection stays open, and locked, meanwhile.
func (l lentRaw) Control(f func(fd uintptr)) error {
	l.c.io.Lock()
	defer l.c.io.Unlock()
	fd := l.c.io.FDLocked()
	if fd < 0 {
		return net.ErrClosed
	}
	f(uintptr(fd))
	return nil
}

// Read implements syscall.RawConn, for nobody.
func (lentRaw) Read(func(uintptr) bool) error { return http.ErrNotSupported }

// Write implements syscall.RawConn, for nobody.
func (lentRaw) Write(func(uintptr) bool) error { return http.ErrNotSupported }
