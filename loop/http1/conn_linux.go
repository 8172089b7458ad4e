package http1

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/loop"
)

// conn is one connection. While it waits for a request it is nothing but this.
type conn struct {
	io     loop.Conn
	server *Server
	peer   *Peer // what is known of both ends; it does not change
	from   address

	// These are guarded by io's lock.
	x    *Exchange // whose response is not complete, or nil
	more *[]byte   // has come, and nobody could look at it so far
	bits connBits

	// A request that has not come whole; whoever feeds has it.
	part *part
}

type connBits uint8

const (
	feeding   connBits = 1 << iota // somebody looks at what has come
	spoken                         // the client has said something
	lingering                      // all is said: what comes is dropped
	refused                        // one connection too many: 503
	halfway                        // the client has ended its side
	stuffed                        // more is full, and reading paused for it
	timed                          // the deadline is the one between requests
)

// part is a request of which more has to come.
type part struct {
	head Head
	b    []byte
	size int // of the head, once that is whole, and only the body is missing
}

var heads = sync.Pool{New: func() any { return new(Head) }}

// maxMore bounds what is read ahead of the request that is served, in bytes.
const maxMore = 64 << 10

// Data implements loop.Owner.
func (c *conn) Data(b []byte) bool {
	c.io.Lock()
	c.io.TakenLocked()
	if c.bits&lingering != 0 {
		c.io.Unlock()
		return true
	}
	c.bits |= spoken
	if c.bits&feeding != 0 || c.x != nil && !c.x.receiving {
		c.keepLocked(b)
		c.io.Unlock()
		return true
	}
	c.bits |= feeding
	if c.more != nil {
		b = append(*c.more, b...)
		c.more = nil
	}
	c.feed(b)
	return true
}

// keepLocked keeps what cannot be looked at now.
func (c *conn) keepLocked(b []byte) {
	if len(b) == 0 {
		return
	}
	if c.more == nil {
		c.more = new([]byte)
	}
	*c.more = append(*c.more, b...)
	if len(*c.more) > maxMore && c.bits&stuffed == 0 {
		c.bits |= stuffed
		c.io.PauseLocked()
	}
}

// feed serves what is in b, and what comes meanwhile. It is called with the lock, by one
// goroutine at a time, and unlocks.
func (c *conn) feed(b []byte) {
	head := heads.Get().(*Head)
	for {
		switch x := c.x; {
		case c.bits&lingering != 0:
			b = nil
			c.more = nil
		case x != nil && x.receiving && len(b) > 0:
			c.io.Unlock()
			b = x.receive(b)
			c.io.Lock()
			continue
		case x != nil && !x.receiving:
			// Its response comes first. What was kept meanwhile comes behind b.
			if len(b) > 0 {
				kept := c.more
				c.more = nil
				c.keepLocked(b)
				if kept != nil {
					c.keepLocked(*kept)
				}
			}
			c.bits &^= feeding
			c.io.Unlock()
			heads.Put(head)
			return
		}
		if len(b) == 0 {
			if c.more == nil {
				c.bits &^= feeding
				if c.server.giving.Load() != nil && c.x == nil {
					c.handOverLocked()
				}
				c.io.Unlock()
				heads.Put(head)
				return
			}
			b = *c.more
			c.more = nil
			c.unstuffLocked()
			continue // it may be more of the body that is being received
		}
		c.unstuffLocked()
		c.io.Unlock()
		b = c.request(b, head)
		c.io.Lock()
		if c.x != nil {
			c.x.behind = nil // it is kept now
		}
	}
}

// unstuffLocked reads again where reading paused for what was kept.
func (c *conn) unstuffLocked() {
	if c.bits&stuffed == 0 {
		return
	}
	c.bits &^= stuffed
	if x := c.x; x == nil || x.pipe == nil || !x.pipe.paused {
		c.io.ResumeLocked()
	}
}

// request takes a request from the beginning of b, or what there is of one, and returns the
// rest.
func (c *conn) request(b []byte, head *Head) []byte {
	p := c.part
	var err error
	size := 0
	if p != nil {
		p.b = append(p.b, b...)
		b, head, size = p.b, &p.head, p.size
	} else {
		head.reset()
	}
	if size == 0 {
		if size, err = head.parse(b); err == nil && (size == 0 && len(b) > c.headerSize() || size > c.headerSize()) {
			err = errFields
		}
	}
	switch {
	case err != nil:
		c.part = nil
		c.refuse(err.(*Error), head, b)
		return nil
	case size == 0 || c.gathers(head) && int64(len(b)-size) < head.Length:
		c.wait(p, head, b, size)
		return nil
	}
	c.part = nil
	return c.begin(head, b[:size:size], b[size:])
}

func (c *conn) headerSize() int {
	if n := c.server.options.Limits.HeaderSize; n > 0 {
		return n
	}
	return 1 << 30
}

// gathers says that a body is waited for before anybody is called.
func (c *conn) gathers(h *Head) bool {
	return c.server.options.Direct != nil && h.Length > 0 && h.Length <= DirectBody && !h.Continue
}

// wait keeps a request that has not come whole.
func (c *conn) wait(p *part, head *Head, b []byte, size int) {
	timeout := c.server.options.Limits.HeaderTimeout
	first := p == nil || p.size == 0 && size > 0
	if p == nil {
		p = &part{b: bytes.Clone(b)}
		p.head, *head = *head, Head{}
		c.part = p
	}
	if p.size = size; size > 0 {
		timeout = c.server.options.Limits.BodyTimeout
	}
	if first {
		c.io.Lock()
		c.bits &^= timed
		c.io.BriefLocked(size == 0)
		c.io.Unlock()
		c.io.SetDeadline(timeout)
	}
}

// idleLocked sets the deadline that a connection has between two requests. It stands while
// requests come and go, and Expire looks how long ago the last one came.
func (c *conn) idleLocked() {
	if c.bits&timed == 0 {
		c.bits |= timed
		c.io.SetDeadline(c.server.options.Limits.IdleTimeout)
	}
}

// refuse answers a request that is none, and ends the connection.
func (c *conn) refuse(e *Error, head *Head, b []byte) {
	s := c.server
	s.options.Log.Info("a request is refused", "status", e.Status, "reason", e.Reason, "remote", c.remoteAddr())
	minor := 1
	if head.line {
		minor = head.Minor
	}
	x := &Exchange{conn: c, minor: uint8(minor)}
	if head.line && string(head.method.of(b)) == http.MethodHead {
		x.isHead = true
	}
	c.io.Lock()
	c.x = x
	c.io.Unlock()
	x.fail(e.Status, e.Reason)
}

// begin serves a request whose head has come, and returns what is behind it in b.
func (c *conn) begin(head *Head, raw, b []byte) []byte {
	s := c.server
	o := &s.options
	x := newExchange(c, head, raw, o.Direct != nil)
	if o.AccessLog != nil {
		x.log = newAccess(head, raw)
	}
	if s.ends() {
		x.keep = false
	}
	c.io.Lock()
	c.x = x
	c.io.BriefLocked(true)
	c.idleLocked()
	tooMany := c.bits&refused != 0
	c.io.Unlock()
	if tooMany {
		x.busy()
		return nil
	}
	length := head.Length
	if limit := o.Limits.BodySize; limit > 0 && length > limit {
		o.Log.Info("a request's body is over the limit", "method", string(head.method.of(raw)), "path", string(head.target.of(raw)),
			"remote", c.remoteAddr(), "bytes", length, "max-body-size", limit)
		x.refuseBody(http.StatusRequestEntityTooLarge)
		return b
	}
	if length < 0 || length > int64(len(b)) {
		return x.stream(head, raw, b)
	}
	x.body, b = b[:length:length], b[length:]
	x.head, x.raw = head, raw
	c.io.Lock()
	x.behind = b
	x.direct = o.Direct != nil && length <= DirectBody
	if !x.direct && !o.Goroutines {
		c.io.LeaveLocked()
	}
	c.io.Unlock()
	if x.direct {
		if o.Direct.ServeDirect(x) {
			return b
		}
		c.io.Lock()
		x.direct = false
		if !o.Goroutines {
			c.io.LeaveLocked()
		}
		c.io.Unlock()
	}
	if o.Goroutines {
		x.body = bytes.Clone(x.body)
		go x.take().serve(o.Handler)
		return b
	}
	x.take().serve(o.Handler)
	return b
}

// Expire implements loop.Owner.
func (c *conn) Expire() {
	o := &c.server.options
	c.io.Lock()
	defer c.io.Unlock()
	x := c.x
	switch {
	case c.bits&lingering != 0:
		c.io.CutLocked(nil)
	case x != nil && x.holding != nil:
		x.letGoLocked()
	case x != nil && x.receiving:
		c.lateBodyLocked(x)
	case x != nil || c.bits&feeding != 0 || c.io.WaitingLocked() > 0:
		c.bits &^= timed // it is the app's time, or TCP_USER_TIMEOUT's
		c.idleLocked()
	case c.part != nil:
		if timeout := o.Limits.BodyTimeout; c.part.size > 0 && c.io.SilentLocked() < timeout {
			c.io.SetDeadline(timeout - c.io.SilentLocked())
			return
		}
		c.lateLocked()
	case c.bits&timed != 0 && c.io.SilentLocked() < o.Limits.IdleTimeout:
		c.io.SetDeadline(o.Limits.IdleTimeout - c.io.SilentLocked())
	default:
		c.io.FinishLocked()
	}
}

const requestTimeout = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

// lateLocked answers a request that does not come to its end (RFC 9110, 15.5.9).
func (c *conn) lateLocked() {
	_ = c.io.WriteLocked([]byte(requestTimeout), nil, false)
	what, limit := "a request's headers did not arrive in time", c.server.options.Limits.HeaderTimeout
	if c.part.size > 0 {
		what, limit = "a request's body did not arrive in time", c.server.options.Limits.BodyTimeout
	}
	c.server.options.Log.Info(what, "remote", c.remoteAddrLocked(), "limit", limit)
	c.lingerLocked()
}

// lateBodyLocked looks after a body that comes.
func (c *conn) lateBodyLocked(x *Exchange) {
	timeout := c.server.options.Limits.BodyTimeout
	silent := c.io.SilentLocked()
	if x.pipe != nil {
		silent = min(silent, time.Since(x.pipe.asked)) // for so long it was waited for
	}
	switch {
	case x.answered: // only the rest of the body is waited for
		c.lingerLocked()
	case timeout <= 0 || x.pipe == nil || x.pipe.paused:
		c.io.SetDeadline(max(timeout, time.Second)) // the app takes its time
	case silent < timeout:
		c.io.SetDeadline(timeout - silent)
	default:
		x.lateLocked()
	}
}

// linger is how long what a client still sends is read after the last answer, and how much.
// A connection that is closed with bytes unread is reset, and the client may find the reset
// before the answer (RFC 9112, 9.6).
const (
	linger    = time.Second
	lingerMax = 256 << 10
)

// lingerLocked ends the connection in order.
func (c *conn) lingerLocked() {
	c.bits |= lingering
	c.x, c.more = nil, nil
	if c.bits&halfway != 0 {
		c.io.FinishLocked()
		return
	}
	if c.bits&stuffed != 0 {
		c.bits &^= stuffed
	}
	c.io.ResumeLocked()
	c.io.HalveLocked()
	c.io.SetDeadline(linger)
}

// PeerEnded implements loop.HalfCloser: who ends its side may still wait for an answer. A
// Direct takes it for gone, as one takes it whose answer may be long in coming.
func (c *conn) PeerEnded() bool {
	c.io.Lock()
	x := c.x
	if c.bits&lingering != 0 || x == nil && c.bits&feeding == 0 && c.io.WaitingLocked() == 0 || x != nil && x.direct {
		c.io.Unlock()
		return false
	}
	c.bits |= halfway
	c.io.Unlock()
	if x != nil {
		x.gone(io.EOF)
		return true
	}
	c.io.Lock()
	c.io.FinishLocked()
	c.io.Unlock()
	return true
}

// Ended implements loop.Owner.
func (c *conn) Ended(err error) {
	s := c.server
	c.io.Lock()
	x := c.x
	c.more = nil
	c.bits |= halfway
	if c.bits&feeding == 0 {
		c.part = nil
	}
	wasRefused := c.bits&refused != 0
	c.io.Unlock()
	if x != nil {
		x.gone(err)
	}
	if wasRefused {
		s.refused.Add(-1)
	}
	s.open.Add(-1)
}

// SentLocked implements loop.Owner.
func (c *conn) SentLocked() {
	if x := c.x; x != nil {
		x.sentLocked()
	}
}

// quiesce closes a connection that waits for its next request, and has done so for a time
// since the drain began.
func (c *conn) quiesce(start time.Time, quiet time.Duration) {
	c.io.Lock()
	defer c.io.Unlock()
	if !c.waitingLocked() || c.io.BusyLocked() || c.handOverLocked() {
		return
	}
	if time.Since(start) >= quiet && c.io.SilentLocked() >= quiet {
		c.io.FinishLocked()
	}
}

// waitingLocked says that the next word is the client's.
func (c *conn) waitingLocked() bool {
	// While somebody looks at what has come, part is theirs.
	return c.bits&(feeding|lingering|halfway) == 0 && c.x == nil && c.part == nil && c.more == nil && c.io.WaitingLocked() == 0
}

// handOverLocked gives the connection away, if that is what is to be done and nothing is in
// the way.
func (c *conn) handOverLocked() bool {
	give := c.server.giving.Load()
	fd := c.io.FDLocked()
	if give == nil || fd < 0 {
		return false
	}
	c.io.FlushLocked() // the last answer, if the loop is about to send it
	if !c.waitingLocked() || c.bits&refused != 0 || c.io.ReadingLocked() || c.io.UnreadLocked() != 0 {
		return false
	}
	if !(*give)(fd) {
		return false
	}
	c.bits |= lingering
	if fd := c.io.DetachLocked(); fd >= 0 {
		unix.Close(fd)
		c.server.open.Add(-1)
	}
	return true
}

func (c *conn) remoteAddr() string {
	c.io.Lock()
	defer c.io.Unlock()
	return c.remoteAddrLocked()
}

// remoteAddrLocked is the client's address as net/http has it.
func (c *conn) remoteAddrLocked() string {
	if c.peer == nil || c.peer.Remote == "" {
		remote := c.from.String()
		if remote == "" {
			address, err := unix.Getpeername(c.io.FDLocked())
			if err != nil {
				return ""
			}
			remote = "@"
			if tcp := tcpAddr(address); tcp != nil {
				remote = tcp.String()
			}
		}
		known := Peer{Remote: remote}
		if c.peer != nil {
			known.Local, known.Context = c.peer.Local, c.peer.Context
		}
		c.peer = &known
	}
	return c.peer.Remote
}

// localAddr is this side's address. Connections of one listener share it.
func (c *conn) localAddr() net.Addr {
	c.io.Lock()
	defer c.io.Unlock()
	if c.peer != nil && c.peer.Local != nil {
		return c.peer.Local
	}
	address, err := unix.Getsockname(c.io.FDLocked())
	if err != nil {
		return &net.TCPAddr{}
	}
	known := Peer{Local: &net.UnixAddr{Net: "unix"}}
	if tcp := tcpAddr(address); tcp != nil {
		known.Local = tcp
	}
	same, _ := c.server.locals.LoadOrStore(known.Local.String(), known.Local)
	known.Local = same.(net.Addr)
	if c.peer != nil {
		known.Remote, known.Context = c.peer.Remote, c.peer.Context
	}
	c.peer = &known
	return known.Local
}

func tcpAddr(address unix.Sockaddr) *net.TCPAddr {
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: bytes.Clone(a.Addr[:]), Port: a.Port}
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: bytes.Clone(a.Addr[:]), Port: a.Port}
	}
	return nil
}

// contextLocked is where its requests have theirs from.
func (c *conn) contextLocked() context.Context {
	if c.peer != nil && c.peer.Context != nil {
		return c.peer.Context
	}
	return c.server.options.Context
}
