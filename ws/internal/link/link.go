// Package link has what both engines do in the same way: the life of a connection from
// the first message to the close handshake, pings, and the rules of the write queue.
package link

import (
	"errors"
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/internal/frame"
)

// Wire is how an engine moves bytes. Its methods are called with it locked.
type Wire interface {
	Lock()
	Unlock()
	// Message sends a message in one frame, compressed where that was agreed.
	Message(typ ws.MessageType, p []byte)
	// Frame sends one frame.
	Frame(opcode frame.Opcode, fin bool, p []byte)
	// Frames sends what is encoded already, and may keep it.
	Frames(b []byte)
	// Encode returns a message as it would be sent now.
	Encode(typ ws.MessageType, p []byte) []byte
	// Waiting is how many bytes the socket has not taken.
	Waiting() int64
	// Silent is for how long nothing has come, although something would have been read.
	Silent() time.Duration
	// LastRead is when something came last, by any clock.
	LastRead() uint32
	// SetDeadline has Expire called in d, instead of when it was set before. 0: never.
	SetDeadline(d time.Duration)
	// Start begins to read; or, for a connection that is closed, to wait for its end.
	Start()
	// Halve ends what this side sends when all is sent. What comes is read and forgotten.
	Halve()
	// Cut closes the connection at once. Ended is called with err, or has been.
	Cut(err error)
}

// Link is one connection. It is part of the engine's ws.Driver.
type Link struct {
	Conn    ws.Conn
	wire    Wire
	handler ws.Handler     // the app's, or an Inbox; nil before the first of both
	out     *outgoing      // who waits to write, or nil
	closed  *ws.CloseError // how it ends, from the first close frame on
	life    atomic.Uint32
	pinged  uint32 // the last read before a ping that waits for its pong, plus one; or 0
}

// The states of a Link's life. They change with the Wire locked, and are read without.
const (
	Open    = uint32(iota) // messages go both ways
	Closing                // our close frame is sent, the peer's has not come
	Failed                 // our close frame is sent because of a mistake; what comes is not read
	Over                   // both close frames are sent, or there is nothing to send them on
)

// Init makes l ready. Driver is what l is part of.
func (l *Link) Init(w Wire, driver ws.Driver, h *ws.Handshake) {
	l.wire = w
	l.Conn.Init(driver, h)
}

// Life returns the state.
func (l *Link) Life() uint32 { return l.life.Load() }

// Config has the limits.
func (l *Link) Config() *ws.Config { return l.Conn.Config() }

// Handler is whom Begin was given.
func (l *Link) Handler() ws.Handler { return l.handler }

// Begin makes h the Handler, if the connection has not begun to be used; otherwise it
// reports false. It calls Open, then early if it is not nil, and then the Wire starts.
func (l *Link) Begin(h ws.Handler, early func()) bool {
	l.wire.Lock()
	if l.handler != nil {
		l.wire.Unlock()
		return false
	}
	l.handler = h
	l.wire.Unlock()

	l.CallOpen(h)
	if early != nil {
		early()
	}
	l.wire.Lock()
	defer l.wire.Unlock()
	if l.life.Load() == Open {
		l.wire.SetDeadline(l.Config().PingInterval)
	}
	l.wire.Start()
	return true
}

// Serve begins with h, or has it called from now on if an Inbox was before it.
func (l *Link) Serve(h ws.Handler, early func()) {
	if l.Begin(h, early) {
		return
	}
	box, ok := l.handler.(*Inbox)
	if !ok {
		panic("websocket: a Conn can be served once only")
	}
	box.Serve(h)
}

// Inbox begins with an Inbox, or returns the one that is there; nil if there is another
// Handler.
func (l *Link) Inbox(early func()) *Inbox {
	l.wire.Lock()
	began := l.handler != nil
	l.wire.Unlock()
	if !began {
		l.Begin(newInbox(l), early)
	}
	box, _ := l.handler.(*Inbox)
	return box
}

// CallOpen calls h.
func (l *Link) CallOpen(h ws.Handler) {
	defer l.recover()
	h.Open(&l.Conn)
}

// CallMessage calls h, unless the app has closed the connection.
func (l *Link) CallMessage(h ws.Handler, typ ws.MessageType, p []byte) {
	defer l.recover()
	if l.life.Load() == Open {
		h.Message(&l.Conn, typ, p)
	}
}

// CallClose calls h.
func (l *Link) CallClose(h ws.Handler, err *ws.CloseError) {
	defer l.recover()
	h.Close(&l.Conn, err)
}

// recover ends the connection after a panic of the app, and nothing else.
func (l *Link) recover() {
	if r := recover(); r != nil {
		l.Config().Logger.Error("websocket handler panicked", "panic", r, "stack", string(debug.Stack()))
		l.wire.Lock()
		l.failLocked(ws.StatusInternalError, "", errors.New("the handler panicked"))
		l.wire.Unlock()
	}
}

// Control answers a control frame of the peer's.
func (l *Link) Control(opcode frame.Opcode, p []byte) error {
	switch opcode {
	case frame.Ping:
		l.wire.Lock()
		if l.life.Load() == Open && l.wire.Waiting() < maxAnswers {
			l.wire.Frame(frame.Pong, true, p)
		}
		l.wire.Unlock()
	case frame.Pong:
		l.ponged(p)
	case frame.Close:
		code, reason, err := frame.ParseClose(p)
		if err != nil {
			return err
		}
		l.PeerClosed(code, reason)
	}
	return nil
}

// maxAnswers is how many bytes may wait when a ping is answered. A peer that does not
// read its pongs misses some: only the last ping needs one (RFC 6455, 5.5.3).
const maxAnswers = 256 << 10

// PeerClosed answers the peer's close frame, or takes it for the answer to ours.
func (l *Link) PeerClosed(code ws.StatusCode, reason string) {
	l.wire.Lock()
	defer l.wire.Unlock()
	if l.life.Load() == Open {
		l.closed = &ws.CloseError{Code: code, Reason: reason}
		// With the same code, as is usual (RFC 6455, 5.5.1).
		l.closeFrameLocked(code, "")
	}
	l.life.Store(Over)
	l.wire.SetDeadline(l.Config().CloseTimeout)
	l.wakeLocked()
}

func (l *Link) closeFrameLocked(code ws.StatusCode, reason string) {
	var array [125]byte
	l.wire.Frame(frame.Close, true, frame.AppendClosePayload(array[:0], code, reason))
}

// Fail ends the connection because of err, and says so to the peer and to the log.
func (l *Link) Fail(err error) {
	code, reason := ws.StatusProtocolError, err.Error()
	var violation ws.ProtocolError
	switch {
	case errors.As(err, &violation):
		reason = string(violation)
	case errors.Is(err, ws.ErrInvalidUTF8):
		code = ws.StatusInvalidPayload
	case errors.Is(err, ws.ErrMessageTooBig):
		code = ws.StatusMessageTooBig
	}
	l.wire.Lock()
	defer l.wire.Unlock()
	l.failLocked(code, reason, err)
}

func (l *Link) failLocked(code ws.StatusCode, reason string, err error) {
	before := l.life.Load()
	if before == Over || before == Failed {
		return
	}
	l.Config().Logger.Info("websocket closed", "code", int(code), "reason", reason, "error", err, "remote", l.Conn.RemoteAddr())
	if before == Open {
		l.closed = &ws.CloseError{Code: code, Reason: reason, Local: true, Err: err}
		l.closeFrameLocked(code, ws.CutReason(reason))
	}
	l.life.Store(Failed)
	// The connection is closed when the peer has read that and left: closed with bytes
	// unread, the system would reset it, and the peer might never see why.
	l.wire.Halve()
	l.wire.SetDeadline(l.Config().CloseTimeout)
	l.wakeLocked()
	l.AnywayLocked()
}

// AnywayLocked begins for an app that has not, so that the end is seen.
func (l *Link) AnywayLocked() {
	if l.handler == nil {
		l.handler = newInbox(l)
		l.wire.Start()
	}
}

// Ended is called once, when the connection is closed; err is as with loop.Owner.
func (l *Link) Ended(err error) {
	l.wire.Lock()
	if l.closed == nil {
		if err == nil || errors.Is(err, io.EOF) {
			err = ws.ErrUnexpectedEOF
		}
		l.closed = &ws.CloseError{Code: ws.StatusAbnormal, Err: err}
	}
	l.life.Store(Over)
	closed := l.closed
	l.wakeLocked()
	l.wire.Unlock()
	l.Conn.End()
	l.CallClose(l.handler, closed)
}

// Lost ends the connection because reading has failed with err.
func (l *Link) Lost(err error) {
	l.wire.Lock()
	defer l.wire.Unlock()
	if l.closed == nil {
		if errors.Is(err, io.EOF) {
			err = ws.ErrUnexpectedEOF
		}
		l.closed = &ws.CloseError{Code: ws.StatusAbnormal, Err: err}
	}
	l.cutLocked(err)
}

// Closed is how the connection ends, nil before it does.
func (l *Link) Closed() error {
	l.wire.Lock()
	defer l.wire.Unlock()
	return l.closedLocked()
}

func (l *Link) closedLocked() error {
	if l.closed != nil {
		return l.closed
	}
	return nil
}

// Expire does what is due: a ping, or the end for want of a pong or a close frame.
func (l *Link) Expire() {
	l.wire.Lock()
	defer l.wire.Unlock()
	config := l.Config()
	if l.life.Load() != Open {
		if l.closed.Err == nil {
			l.closed.Err = ws.ErrCloseTimeout
		}
		l.cutLocked(ws.ErrCloseTimeout)
		return
	}
	if config.PingInterval == 0 {
		return
	}
	silent := l.wire.Silent()
	if l.pinged != 0 && (silent == 0 || l.pinged != l.wire.LastRead()+1) {
		l.pinged = 0
	}
	switch {
	case l.pinged != 0 && config.PongTimeout > 0:
		config.Logger.Info("websocket cut", "error", ws.ErrPongTimeout, "remote", l.Conn.RemoteAddr())
		l.cutLocked(ws.ErrPongTimeout)
	case silent < config.PingInterval*7/8: // deadlines may be late by an eighth: not twice
		l.wire.SetDeadline(config.PingInterval - silent)
	default:
		l.pinged = l.wire.LastRead() + 1
		l.wire.Frame(frame.Ping, true, nil)
		if config.PongTimeout > 0 {
			l.wire.SetDeadline(config.PongTimeout)
		} else {
			l.wire.SetDeadline(config.PingInterval)
		}
	}
}

// Close implements ws.Driver.
func (l *Link) Close(code ws.StatusCode, reason string) error {
	l.wire.Lock()
	defer l.wire.Unlock()
	if l.closed != nil {
		return l.closed
	}
	l.closed = &ws.CloseError{Code: code, Reason: reason, Local: true}
	l.closeFrameLocked(code, reason)
	l.life.Store(Closing)
	l.wire.SetDeadline(l.Config().CloseTimeout)
	l.wakeLocked()
	l.AnywayLocked() // somebody has to read the answer
	return nil
}

// CloseNow implements ws.Driver.
func (l *Link) CloseNow() error {
	l.wire.Lock()
	defer l.wire.Unlock()
	if l.life.Load() == Over {
		return l.closedLocked()
	}
	l.cutLocked(nil)
	return nil
}

func (l *Link) cutLocked(err error) {
	if l.closed == nil {
		l.closed = &ws.CloseError{Code: ws.StatusAbnormal, Local: true, Err: err}
	}
	l.life.Store(Over)
	l.wire.Cut(err)
	l.wakeLocked()
	l.AnywayLocked()
}
