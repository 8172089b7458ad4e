package http1

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"sync"

	"github.com/chaussette/chaussette/loop"
)

// Exchange is a request and its response.
//
// What is said of the request, the body included, may be used while ServeDirect runs, and
// no longer. The methods that answer may be called from any goroutine, one at a time: Answer
// alone; or Start, Write any number of times, and End; or File alone. Cut may end it in
// between. They do nothing where the client has gone.
type Exchange struct {
	conn *conn
	head *Head
	raw  []byte
	body []byte

	own *response // that of its turn, or nil

	minor  uint8
	isHead bool
	keep   bool    // the connection, after the response
	frame  framing // of the response
	status int
	size   int64 // of the response's body, as sent
	log    *access
	left   int64   // of the request's body, when it is no chunks
	chunks *chunks // or nil
	got    int64   // of the request's body
	share  int64   // of the bytes of bodies that may be held at once
	held   bool    // what is left of it is with the system; before the handler is called

	// With the connection's lock.
	direct    bool // it is a Direct's
	receiving bool // the request's body has not come to its end
	answered  bool // the response is complete, while receiving
	started   bool // the head of the response has gone
	lost      bool // the client has gone before the response was complete
	over      bool // there is nothing to answer any more: the client has gone, or has got it
	pipe      *pipe
	holding   *response // whose body is waited for before its handler is called, or nil
	onGone    func(error)
	taker     *response // of a handler, which is told in place of onGone
	onSent    func()
	file      *os.File // is being sent, and closed then
	lent      bool     // somebody else writes the body, framing and all
	duplex    bool     // the handler reads on while it answers
	behind    []byte   // what came with the request, behind it; while it is begun
}

// ErrGone is the error of an answer to a client that has gone.
var ErrGone = errors.New("http1: the client has gone")

// turn is all that a handler's request takes, in one piece of memory.
type turn struct {
	Exchange
	response
}

// newExchange returns an Exchange that is a Direct's, or a turn's.
func newExchange(c *conn, h *Head, raw []byte, direct bool) *Exchange {
	var x *Exchange
	if direct {
		x = new(Exchange)
	} else {
		t := new(turn)
		x = &t.Exchange
		x.own = &t.response
	}
	x.conn, x.minor, x.keep, x.isHead = c, uint8(h.Minor), h.KeepAlive, string(h.method.of(raw)) == http.MethodHead
	return x
}

// Method is that of the request.
func (x *Exchange) Method() []byte { return x.head.method.of(x.raw) }

// Target is what the request is for, as it came.
func (x *Exchange) Target() []byte { return x.head.target.of(x.raw) }

// Host is the Host field.
func (x *Exchange) Host() []byte { return x.head.host.of(x.raw) }

// Minor is the version: HTTP/1.Minor.
func (x *Exchange) Minor() int { return int(x.minor) }

// Upgrade says that there is an Upgrade field.
func (x *Exchange) Upgrade() bool { return x.head.Upgrade }

// HasLength says that there is a Content-Length, which may be 0.
func (x *Exchange) HasLength() bool { return x.head.HasLength }

// Fields is how many fields there are, as they came.
func (x *Exchange) Fields() int { return len(x.head.fields) }

// Field is one of them.
func (x *Exchange) Field(i int) (name, value []byte) {
	f := x.head.fields[i]
	return f.name.of(x.raw), f.value.of(x.raw)
}

// Header is the first field of a name that is given in lower case; nil is none.
func (x *Exchange) Header(lower string) []byte {
	for _, f := range x.head.fields {
		if name := f.name.of(x.raw); equalFold(name, lower) {
			return f.value.of(x.raw)
		}
	}
	return nil
}

// Body is the request's.
func (x *Exchange) Body() []byte { return x.body }

// RemoteAddr is the client's address, as net/http has it.
func (x *Exchange) RemoteAddr() string { return x.conn.remoteAddr() }

// LocalAddr is the server's side of the connection.
func (x *Exchange) LocalAddr() net.Addr { return x.conn.localAddr() }

// OnGone has f called, once, if the client goes before the answer is complete. It may be
// called at once, and must not block.
func (x *Exchange) OnGone(f func(error)) {
	c := x.conn
	c.io.Lock()
	gone := x.goneLocked()
	if !gone && !x.over {
		x.onGone = f
	}
	c.io.Unlock()
	if gone {
		f(ErrGone)
	}
}

// goneLocked says that the client has gone before the answer is complete.
func (x *Exchange) goneLocked() bool { return x.lost || !x.over && x.conn.bits&halfway != 0 }

// OnSent has f called whenever some of what waited for the client was sent. It must not
// block, nor call the Exchange.
func (x *Exchange) OnSent(f func()) {
	x.conn.io.Lock()
	x.onSent = f
	x.conn.io.Unlock()
}

// Waiting is how many bytes wait for the client to take them.
func (x *Exchange) Waiting() int64 {
	x.conn.io.Lock()
	defer x.conn.io.Unlock()
	if x.over {
		return 0
	}
	return x.conn.io.WaitingLocked()
}

// Request is the request as a handler gets it, without its body. It may be kept; its context is
// that of the server.
func (x *Exchange) Request() (*http.Request, error) {
	var both struct {
		request http.Request
		url     url.URL
	}
	x.conn.io.Lock()
	ctx, remote := x.conn.contextLocked(), x.conn.remoteAddrLocked()
	x.conn.io.Unlock()
	err := newRequest(&both.request, &both.url, ctx, x.head, x.raw, http.NoBody, remote)
	return &both.request, err
}

// Keep says whether the connection goes on after this response, as far as is known.
func (x *Exchange) Keep() bool { return x.keep }

// bodiless are the responses that have no body, whatever is declared (RFC 9112, 6.3).
func (x *Exchange) bodiless(status int) bool {
	return x.isHead || status < 200 || status == http.StatusNoContent || status == http.StatusNotModified
}

// measured are the statuses whose responses say how long they are. Of 304 it is allowed (RFC
// 9110, 8.6), and not asked for (15.4.5); some clients wait for a body then.
func measured(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// keptBuffer is the largest buffer that is kept for another response.
const keptBuffer = 64 << 10

func release(b *[]byte) {
	if cap(*b) <= keptBuffer {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// Answer answers with a whole response. Of a Content-Length in h only what HEAD promises
// counts: otherwise it is that of the body.
func (x *Exchange) Answer(h *ResponseHead, body []byte) error {
	frame, length := framedByLength, int64(len(body))
	if x.bodiless(h.status) {
		length = h.length
		if length < 0 && x.isHead && len(body) > 0 {
			length = int64(len(body))
		}
		if length < 0 || !measured(h.status) {
			frame = framedByNothing
		}
		body = nil
	}
	b := buffers.Get().(*[]byte)
	defer release(b)
	c := x.conn
	c.io.Lock()
	if x.over || x.started {
		c.io.Unlock()
		return ErrGone
	}
	x.keepLocked(h)
	*b = h.appendTo((*b)[:0], frame, length, x.keep, int(x.minor))
	_ = c.io.WriteLocked(*b, body, false)
	x.started, x.status, x.size = true, h.status, int64(len(body))
	x.completeLocked()
	return nil
}

// keepLocked decides whether the connection goes on.
func (x *Exchange) keepLocked(h *ResponseHead) {
	if h.close || x.conn.server.ends() || x.conn.bits&halfway != 0 {
		x.keep = false
	}
	switch {
	case !x.receiving:
	case x.pipe != nil && x.pipe.asks:
		x.keep = false // whether the body comes is the client's to say
	case !x.duplex && (x.chunks != nil || x.left > lingerMax):
		x.keep = false // what is left of the request is not worth to be read
	}
}

// Start sends the head of a response. length is that of the body, or -1 where it is not
// known: it then goes in chunks, or, to a client of HTTP/1.0, up to the end of the connection.
func (x *Exchange) Start(h *ResponseHead, length int64) error {
	x.conn.io.Lock()
	defer x.conn.io.Unlock()
	return x.startLocked(h, length, nil)
}

// startLocked sends the head and a first part of the body.
func (x *Exchange) startLocked(h *ResponseHead, length int64, body []byte) error {
	if x.over || x.started {
		return ErrGone
	}
	frame := framedByLength
	switch {
	case x.bodiless(h.status):
		if length < 0 || !measured(h.status) {
			frame = framedByNothing
		}
	case length < 0 && x.minor > 0:
		frame = framedByChunks
	case length < 0:
		frame, x.keep = framedByNothing, false
	}
	x.keepLocked(h)
	x.started, x.status, x.frame = true, h.status, frame
	b := buffers.Get().(*[]byte)
	defer release(b)
	*b = h.appendTo((*b)[:0], frame, length, x.keep, int(x.minor))
	if len(body) == 0 || x.bodiless(h.status) {
		return x.conn.io.WriteLocked(*b, nil, false)
	}
	return x.writeLocked(*b, body)
}

// Write sends a part of the body, which is the caller's again when it returns. Nothing is sent to
// a client that wants no body.
func (x *Exchange) Write(p []byte) error {
	x.conn.io.Lock()
	defer x.conn.io.Unlock()
	switch {
	case x.over:
		return ErrGone
	case len(p) == 0 || x.bodiless(x.status):
		return nil
	}
	b := buffers.Get().(*[]byte)
	defer release(b)
	return x.writeLocked((*b)[:0], p)
}

// writeLocked sends a part of the body behind what is in before.
func (x *Exchange) writeLocked(before, p []byte) error {
	x.size += int64(len(p))
	io := &x.conn.io
	if x.frame != framedByChunks || x.lent {
		return io.WriteLocked(before, p, false)
	}
	before = appendChunkHead(before, len(p))
	if err := io.WriteLocked(before, p, false); err != nil {
		return err
	}
	return io.WriteLocked(crlf, nil, false)
}

var crlf, lastChunk = []byte("\r\n"), []byte("0\r\n\r\n")

// Lend has somebody else write the body on the connection itself: lend passes fd on, with the
// head, which goes before the body. Where the body comes in chunks its writer makes them, but
// for the last one, which is End's. Whatever Write gets goes out as it is; nothing is
// written before the other one has said that it has. An error, lend's or ErrGone, means that
// nothing has happened. The connection is locked while lend is called.
func (x *Exchange) Lend(h *ResponseHead, length int64, lend func(fd int, head []byte, chunked bool) error) error {
	c := x.conn
	c.io.Lock()
	defer c.io.Unlock()
	if x.over || x.started || x.bodiless(h.status) {
		return ErrGone
	}
	c.io.FlushLocked()
	if c.io.WaitingLocked() > 0 {
		return ErrGone
	}
	frame, keep := framedByLength, x.keep
	switch {
	case length < 0 && x.minor > 0:
		frame = framedByChunks
	case length < 0:
		frame, x.keep = framedByNothing, false
	}
	x.keepLocked(h)
	b := buffers.Get().(*[]byte)
	defer release(b)
	*b = h.appendTo((*b)[:0], frame, length, x.keep, int(x.minor))
	if err := lend(c.io.FDLocked(), *b, frame == framedByChunks); err != nil {
		x.keep = keep
		return err
	}
	x.started, x.lent, x.status, x.frame, x.size = true, true, h.status, frame, max(length, 0)
	return nil
}

// Grant has somebody else write the response, head and all, on the connection itself, if that is
// free: f passes fd on. The other one may do without; otherwise Granted is called before Write,
// Cut or End, and what holds after Lend holds then. It reports whether f was called. The connection is
// locked while f is.
func (x *Exchange) Grant(f func(fd int)) bool {
	c := x.conn
	c.io.Lock()
	defer c.io.Unlock()
	fd := c.io.FDLocked()
	if x.over || x.started || x.isHead || x.minor == 0 || !x.keep || fd < 0 {
		return false
	}
	c.io.FlushLocked()
	if c.io.WaitingLocked() > 0 {
		return false
	}
	f(fd)
	return true
}

// Granted says that the one to whom the connection was granted writes a response on it, or has
// done so, whose head declares length bytes.
func (x *Exchange) Granted(status int, length int64) {
	c := x.conn
	c.io.Lock()
	defer c.io.Unlock()
	if !x.over {
		x.started, x.lent, x.status, x.frame, x.size = true, true, status, framedByLength, length
	}
}

// Flush sends what was written so far, where it is gathered: on the loop.
func (x *Exchange) Flush() {
	x.conn.io.Lock()
	if !x.over {
		x.conn.io.FlushLocked()
	}
	x.conn.io.Unlock()
}

// End ends a response that was begun by Start.
func (x *Exchange) End() { x.end(nil) }

// end ends it, with trailers.
func (x *Exchange) end(trailers []byte) {
	c := x.conn
	c.io.Lock()
	if x.over {
		c.io.Unlock()
		return
	}
	if x.frame == framedByChunks && !x.bodiless(x.status) {
		if trailers == nil {
			_ = c.io.WriteLocked(lastChunk, nil, false)
		} else {
			_ = c.io.WriteLocked(append([]byte("0\r\n"), trailers...), crlf, false)
		}
	}
	x.completeLocked()
}

// File answers with length bytes of f, from offset on, which it closes when they are sent.
func (x *Exchange) File(h *ResponseHead, f *os.File, offset, length int64) error {
	c := x.conn
	c.io.Lock()
	if err := x.startLocked(h, length, nil); err != nil {
		c.io.Unlock()
		f.Close()
		return err
	}
	if x.bodiless(h.status) || length == 0 {
		x.completeLocked()
		return f.Close()
	}
	x.size, x.file = length, f
	_ = c.io.WriteFileLocked(f, offset, length)
	if c.io.WaitingLocked() > 0 {
		c.io.Unlock()
		return nil // sentLocked goes on
	}
	x.file = nil
	x.completeLocked()
	return f.Close()
}

// sentLocked is called when something was sent that had to wait.
func (x *Exchange) sentLocked() {
	if x.file != nil && x.conn.io.WaitingLocked() == 0 {
		file := x.file
		x.file = nil
		go func() { // completeLocked may serve the next request
			_ = file.Close()
			x.conn.io.Lock()
			x.completeLocked()
		}()
	}
	if x.onSent != nil {
		x.onSent()
	}
}

// Cut breaks the connection off: the client sees that the response is not complete.
func (x *Exchange) Cut() {
	c := x.conn
	c.io.Lock()
	if x.over {
		c.io.Unlock()
		return
	}
	c.io.FlushLocked()
	x.keep = false
	x.overLocked()
	c.bits |= lingering
	c.x = nil
	c.io.FinishLocked()
	c.io.Unlock()
	x.logged()
}

// completeLocked ends the exchange; it unlocks. What the client has sent meanwhile is next.
func (x *Exchange) completeLocked() {
	c := x.conn
	if x.over {
		c.io.Unlock()
		return
	}
	x.overLocked()
	switch {
	case x.receiving && x.keep:
		// The rest of the request has to come first, within bounds.
		x.answered = true
		c.bits &^= timed
		c.io.SetDeadline(linger)
		if x.pipe != nil {
			x.pipe.dropLocked()
		}
		c.io.ResumeLocked()
	case !x.keep:
		if x.receiving || c.x != x {
			c.lingerLocked()
		} else {
			c.endLocked()
		}
	default:
		x.nextLocked()
	}
	c.io.Unlock()
	x.logged()
}

// endLocked ends a connection that has nothing to come.
func (c *conn) endLocked() {
	if c.more != nil || len(c.x.behind) > 0 || c.io.UnreadLocked() > 0 {
		c.lingerLocked()
		return
	}
	c.bits |= lingering
	c.x = nil
	c.io.FinishLocked()
}

// nextLocked makes the connection ready for the next request.
func (x *Exchange) nextLocked() {
	c := x.conn
	if c.x != x {
		return
	}
	c.x = nil
	c.io.BriefLocked(true)
	if c.bits&halfway != 0 && c.more == nil {
		c.bits |= lingering
		c.io.FinishLocked()
		return
	}
	c.idleLocked()
	if c.more == nil && c.bits&feeding == 0 {
		c.handOverLocked()
		return
	}
	if c.bits&feeding == 0 {
		c.bits |= feeding
		if !c.server.options.Goroutines || !c.io.InRound((*resumer)(c)) {
			go (*resumer)(c).EndRound() // a handler may take its time
		}
	}
}

// resumer looks at what a connection has kept.
type resumer conn

// EndRound implements loop.Rounder.
func (r *resumer) EndRound() {
	c := (*conn)(r)
	c.io.Lock()
	var b []byte
	if c.more != nil { // it may have ended since
		b = *c.more
		c.more = nil
	}
	c.feed(b)
}

func (x *Exchange) overLocked() {
	x.over = true
	x.onGone, x.taker, x.onSent = nil, nil, nil
}

// logged writes the line of the access log.
func (x *Exchange) logged() {
	if x.log != nil {
		x.log.write(x.conn.server.options.AccessLog, x.conn.remoteAddr(), x.status, x.size)
		x.log = nil
	}
}

// gone tells that the client has gone, or said its last word.
func (x *Exchange) gone(err error) {
	c := x.conn
	c.io.Lock()
	f, taker, file := x.onGone, x.taker, x.file
	x.onGone, x.taker = nil, nil
	ended := c.io.FDLocked() < 0
	logs := ended && !x.over
	x.lost = x.lost || !x.over
	if ended {
		x.over, x.file = true, nil
		c.x = nil
	} else {
		file = nil
	}
	if x.pipe != nil {
		x.pipe.failLocked(err)
	}
	if ended && x.holding != nil {
		x.holding = nil
		x.release()
	} else {
		x.letGoLocked()
	}
	sent := x.onSent
	c.io.Unlock()
	if file != nil {
		_ = file.Close()
	}
	if f != nil {
		f(err)
	}
	if taker != nil {
		taker.gone()
	}
	if sent != nil && ended {
		sent()
	}
	if logs {
		x.logged()
	}
}

// fail answers with an error, and ends the connection in order.
func (x *Exchange) fail(status int, reason string) {
	var h ResponseHead
	h.Reset(status, "")
	h.close = true
	h.Add("Content-Type", "text/plain; charset=utf-8")
	h.Add("X-Content-Type-Options", "nosniff")
	switch status {
	case http.StatusServiceUnavailable:
		h.Add("Retry-After", "1")
	case http.StatusRequestEntityTooLarge, http.StatusRequestTimeout:
		reason = http.StatusText(status)
	}
	c := x.conn
	c.io.Lock()
	if x.over || x.started {
		c.io.Unlock()
		return
	}
	x.keep, x.started, x.status, x.size = false, true, status, int64(len(reason)+1)
	x.overLocked()
	body := append([]byte(reason), '\n')
	length := int64(len(body))
	if x.isHead {
		body = nil
	}
	_ = c.io.WriteLocked(h.appendTo(nil, framedByLength, length, false, int(x.minor)), body, false)
	c.lingerLocked()
	c.io.Unlock()
	x.logged()
}

func (x *Exchange) busy() {
	x.fail(http.StatusServiceUnavailable, "The server is busy: too many connections are open.")
}

func (x *Exchange) refuseBody(status int) { x.fail(status, http.StatusText(status)) }

// Detach gives the connection away: the descriptor, which does not block, and what was read
// and not used, the request's body as it goes over the wire. The server knows nothing of
// it from now on, and x is over. fd is -1 where the client has gone, or has not taken what was
// sent before.
func (x *Exchange) Detach() (fd int, rest []byte) {
	return x.detach(x.body, detached)
}

// detach is Detach for who has read all but a part of a body that has come whole, and takes
// the connection by take.
func (x *Exchange) detach(unread []byte, take func(*loop.Conn) int) (fd int, rest []byte) {
	c := x.conn
	c.io.Lock()
	for c.io.ReadingLocked() || x.pipe != nil && c.bits&feeding != 0 {
		// The loop has something of it in its hands, which it is about to pass on.
		c.io.Unlock()
		runtime.Gosched()
		c.io.Lock()
	}
	defer c.io.Unlock()
	if x.over {
		return -1, nil
	}
	c.io.FlushLocked()
	if c.io.WaitingLocked() > 0 {
		return -1, nil
	}
	x.overLocked()
	switch {
	case x.pipe == nil:
		rest = append(rest, unread...)
	case x.chunks == nil:
		rest = x.pipe.takeLocked()
	default:
		rest = x.chunks.again(x.pipe.takeLocked())
	}
	rest = append(rest, x.behind...)
	if c.more != nil {
		rest = append(rest, *c.more...)
	}
	c.more, c.x = nil, nil
	c.bits |= lingering
	if fd = take(&c.io); fd >= 0 {
		c.server.open.Add(-1)
	}
	return fd, rest
}

// AtRoundEnd has r called when the loop has served what it has found ready: see
// loop.Conn.AtRoundEnd.
func (x *Exchange) AtRoundEnd(r loop.Rounder) { x.conn.io.AtRoundEnd(r) }

// Bodiless says that a response of this status has no body: to HEAD, say.
func (x *Exchange) Bodiless(status int) bool { return x.bodiless(status) }
