package std

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// conn is an accepted connection. It is known until it is closed, by whomever: an app
// that hijacked it as well. Where a client is too slow with its headers it answers 408,
// since net/http would close without a word.
type conn struct {
	net.Conn
	engine *Engine
	state  atomic.Int32 // the http.ConnState
	http2  atomic.Bool
	read   bool // something has been; of the reading goroutine alone
	// unanswered: bytes have come since the last answer. With a state that is not active
	// they are the first part of a request.
	unanswered atomic.Bool
	closed     atomic.Bool
	late       atomic.Bool // the client has had its 408: net/http has nothing to add
	refused    atomic.Bool // something was written where no request had begun

	rest  rest
	moved atomic.Bool // to another worker, or about to be
	kept  bool        // another worker has kept it alive: it begins with a request like any

	// held has the head of a response that goes with its body, by SendBy; nil: writes go out.
	held atomic.Pointer[[]byte]
	// reader, where it is set, takes the place of the next Read, of limit bytes. Of the
	// goroutine that reads.
	reader func(c net.Conn, limit int) (int, error)
	// lost: who read in our place does not say how much: nobody knows where the next request
	// begins. Of the goroutine that reads.
	lost bool
}

// connState is told by net/http what becomes of a connection.
func connState(nc net.Conn, s http.ConnState) {
	if secure, ok := nc.(*tls.Conn); ok {
		nc = secure.NetConn()
		if s == http.StateActive && secure.ConnectionState().NegotiatedProtocol == "h2" {
			if c, ok := nc.(*conn); ok {
				c.http2.Store(true)
			}
		}
	}
	if c, ok := nc.(*conn); ok {
		c.state.Store(int32(s))
		if s == http.StateIdle {
			c.rest.deadlines.Store(0)
		}
	}
}

func (c *conn) hijacked() bool { return http.ConnState(c.state.Load()) == http.StateHijacked }

// waiting reports that no request has begun: the client is the next to say something.
func (c *conn) waiting() bool {
	s := http.ConnState(c.state.Load())
	return (s == http.StateNew || s == http.StateIdle) && !c.unanswered.Load()
}

// preface begins a connection of HTTP/2 (RFC 9113, 3.4).
const preface = "PRI * HTTP/2.0"

func (c *conn) Read(p []byte) (int, error) {
	var n int
	var err error
	if reader := c.reader; reader != nil {
		c.reader = nil
		if n, err = reader(c.Conn, len(p)); errors.Is(err, net.ErrClosed) {
			c.lost = true
		}
	} else if c.lost {
		return 0, net.ErrClosed
	} else if c.atRest(p) {
		n, err = c.readAtRest(p)
	} else {
		n, err = c.Conn.Read(p)
	}
	switch {
	case n > 0:
		if !c.read {
			c.read = true
			if bytes.HasPrefix(p[:n], []byte(preface)) {
				c.http2.Store(true)
			}
		}
		c.unanswered.Store(true)
	case err != nil && os.IsTimeout(err):
		c.timedOut()
	}
	return n, err
}

const requestTimeout = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

// timedOut tells a client whose request does not end that its time is over (RFC 9110,
// 15.5.9). Beneath TLS nothing can be said.
func (c *conn) timedOut() {
	if s := http.ConnState(c.state.Load()); s != http.StateNew && s != http.StateIdle {
		return
	}
	if !c.unanswered.Load() || c.engine.tls || !c.late.CompareAndSwap(false, true) {
		return
	}
	_, _ = io.WriteString(c.Conn, requestTimeout)
	c.engine.log.Info("a request's headers did not arrive in time",
		"remote", c.RemoteAddr(), "header-timeout", c.engine.limits.HeaderTimeout)
}

func (c *conn) Write(p []byte) (int, error) {
	c.unanswered.Store(false)
	if s := http.ConnState(c.state.Load()); s == http.StateNew || s == http.StateIdle {
		if c.late.Load() {
			return len(p), nil
		}
		c.refused.Store(true)
	}
	if held := c.held.Load(); held != nil {
		*held = append(*held, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// ReadFrom keeps sendfile: net/http asks a connection for it.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	c.unanswered.Store(false)
	if s, ok := r.(*sender); ok {
		return s.send(c.Conn, s.head)
	}
	if to, ok := c.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

func (c *conn) Close() error {
	c.discard()
	err := c.Conn.Close()
	if c.closed.CompareAndSwap(false, true) {
		c.engine.conns.remove(c)
	}
	return err
}

// discard reads what has come and nobody will look at. A connection that is closed with bytes
// unread is reset, and the client may find the reset before the answer (RFC 9112, 9.6): to a
// request that is malformed, behind which it has sent others. What has come on one that is
// in another's hands is not ours.
func (c *conn) discard() {
	if !c.refused.Load() || c.moved.Load() || c.hijacked() {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		b := discarded.Get().(*[4 << 10]byte)
		defer discarded.Put(b)
		for left := lingerMax; left > 0; {
			n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_DONTWAIT)
			if n <= 0 || err != nil {
				return
			}
			left -= n
		}
	})
}

var discarded = sync.Pool{New: func() any { return new([4 << 10]byte) }}

// CloseWrite lets net/http end a connection in order after a response that refused the
// rest of a request.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// NetConn is the connection itself, for those who hijacked this one and need the descriptor.
func (c *conn) NetConn() net.Conn { return c.Conn }

// SyscallConn gives access to the descriptor.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, syscall.EINVAL
}
