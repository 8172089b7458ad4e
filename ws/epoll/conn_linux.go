package epoll

import (
	"errors"
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"

	cipher "github.com/gobwas/ws"

	"github.com/chaussette/chaussette/loop"
	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/internal/frame"
)

// conn is a ws.Driver and its ws.Conn in one piece: what an idle connection costs.
type conn struct {
	public ws.Conn
	io     loop.Conn // its lock guards what is said to be guarded
	engine *Engine

	// These belong to who runs the connection (loop.Owner.Data).
	handler ws.Handler // the app's, or an inbox; set before the first call of Data
	in      *incoming  // a frame or message that has not come whole, or nil
	windows *windows   // of permessage-deflate, where a context is taken over
	early   []byte     // came with the handshake

	out    *outgoing      // guarded: who waits, or nil
	closed *ws.CloseError // guarded: how it ends, from the first close frame on
	life   state          // guarded, but read without
	begun  bool           // guarded: the app has begun to use it, or we did in its stead
	pinged bool           // guarded: and silent since
}

// state is how far the connection has come.
type state struct{ atomic.Uint32 }

const (
	open    = uint32(iota) // messages go both ways
	closing                // our close frame is sent, the peer's has not come
	failed                 // our close frame is sent because of a mistake; what comes is not read
	over                   // both close frames are sent, or there is nothing to send them on
)

func newConn(e *Engine, h *ws.Handshake) *conn {
	c := &conn{engine: e}
	c.public.Init(c, h)
	return c
}

func (c *conn) config() *ws.Config { return c.public.Config() }

// Serve implements ws.Driver.
func (c *conn) Serve(h ws.Handler) {
	if c.begin(h) {
		return
	}
	box, ok := c.handler.(*inbox)
	if !ok {
		panic("websocket: a Conn can be served once only")
	}
	box.serve(&c.public, h)
}

// begin makes h the connection's Handler if it has none yet. It calls Open, and then lets
// the loop read; until then the loop leaves the connection alone.
func (c *conn) begin(h ws.Handler) bool {
	c.io.Lock()
	if c.begun {
		c.io.Unlock()
		return false
	}
	c.begun, c.handler = true, h
	early := c.early
	c.early = nil
	c.io.Unlock()

	c.open(h)
	more := len(early) == 0 || c.Data(early)
	c.io.Lock()
	defer c.io.Unlock()
	if !more {
		c.io.FinishLocked()
	}
	if c.life.Load() == open {
		c.io.SetDeadline(c.config().PingInterval)
	}
	c.io.StartLocked()
	return true
}

// beginAnyway begins for an app that has not, so that what comes is seen.
func (c *conn) beginAnyway() { c.begin(newInbox(c)) }

func (c *conn) open(h ws.Handler) {
	defer c.recover()
	h.Open(&c.public)
}

func (c *conn) close(h ws.Handler, err *ws.CloseError) {
	defer c.recover()
	h.Close(&c.public, err)
}

// recover ends the connection after a panic of the app, and nothing else.
func (c *conn) recover() {
	if r := recover(); r != nil {
		c.config().Logger.Error("websocket handler panicked", "panic", r, "stack", string(debug.Stack()))
		c.io.Lock()
		c.failLocked(ws.StatusInternalError, "", errors.New("the handler panicked"))
		c.io.Unlock()
	}
}

// deliverTo gives h a message, unless the app has closed the connection.
func (c *conn) deliverTo(h ws.Handler, typ ws.MessageType, p []byte) {
	defer c.recover()
	if c.life.Load() == open {
		h.Message(&c.public, typ, p)
	}
}

// Data implements loop.Owner: b is taken apart in place.
func (c *conn) Data(b []byte) bool {
	rules := frame.Rules{Compression: c.public.Deflate() != nil}
	for len(b) > 0 {
		switch c.life.Load() {
		case failed:
			return true // until the peer leaves
		case over:
			return false
		}
		if c.in == nil {
			h, size, err := frame.Parse(b, rules)
			if err != nil {
				return c.fail(err)
			}
			end := int64(size) + h.Length
			if size > 0 && h.Fin && !h.Compressed && end <= int64(len(b)) {
				// The way nearly all frames go.
				payload := b[size:end]
				cipher.Cipher(payload, h.Mask, 0)
				b = b[end:]
				var err error
				if h.Opcode.Control() {
					err = c.control(h.Opcode, payload)
				} else {
					err = c.whole(ws.MessageType(h.Opcode), payload)
				}
				if err != nil {
					return c.fail(err)
				}
				continue
			}
			c.in = newIncoming()
		}
		var err error
		if b, err = c.in.feed(c, b); err != nil {
			return c.fail(err)
		}
	}
	return c.life.Load() != over
}

// control answers a control frame.
func (c *conn) control(opcode frame.Opcode, p []byte) error {
	switch opcode {
	case frame.Ping:
		c.io.Lock()
		if c.life.Load() == open {
			c.writeControlLocked(frame.Pong, p)
		}
		c.io.Unlock()
	case frame.Pong:
		c.ponged(p)
	case frame.Close:
		code, reason, err := frame.ParseClose(p)
		if err != nil {
			return err
		}
		c.peerClosed(code, reason)
	}
	return nil
}

// maxAnswers bounds the pongs that wait for a peer that does not read them, in bytes.
const maxAnswers = 64 << 10

func (c *conn) writeControlLocked(opcode frame.Opcode, p []byte) {
	if opcode == frame.Pong && c.waitingLocked() > max(c.config().MaxQueue, maxAnswers)+maxAnswers {
		return // only the last ping has to be answered (RFC 6455, 5.5.3)
	}
	var head [2]byte
	c.io.WriteLocked(ws.AppendHeader(head[:0], byte(opcode), len(p)), p, false)
}

// peerClosed answers the peer's close frame, or takes it for the answer to ours.
func (c *conn) peerClosed(code ws.StatusCode, reason string) {
	c.io.Lock()
	defer c.io.Unlock()
	if c.life.Load() == open {
		c.closed = &ws.CloseError{Code: code, Reason: reason}
		// With the same code, as is usual (RFC 6455, 5.5.1).
		c.io.WriteLocked(frame.AppendClose(nil, code, ""), nil, false)
		c.wakeLocked()
	}
	c.life.Store(over)
	c.io.SetDeadline(c.config().CloseTimeout)
}

// fail ends the connection because of err, and says so to the peer and the log.
func (c *conn) fail(err error) bool {
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
	c.io.Lock()
	defer c.io.Unlock()
	c.failLocked(code, reason, err)
	return c.life.Load() != over
}

func (c *conn) failLocked(code ws.StatusCode, reason string, err error) {
	before := c.life.Load()
	if before == over || before == failed {
		return
	}
	if before != closing {
		c.closed = &ws.CloseError{Code: code, Reason: reason, Local: true, Err: err}
		c.io.WriteLocked(frame.AppendClose(nil, code, ws.CutReason(reason)), nil, false)
	}
	c.life.Store(failed)
	c.config().Logger.Info("websocket closed", "code", int(code), "reason", reason, "error", err, "remote", c.public.RemoteAddr())
	// The connection is closed when the peer has read that and left: closed with bytes
	// unread, the system would reset it, and the peer might never see why.
	c.io.HalveLocked()
	c.io.SetDeadline(c.config().CloseTimeout)
	c.wakeLocked()
}

// Ended implements loop.Owner.
func (c *conn) Ended(err error) {
	c.io.Lock()
	if c.closed == nil {
		if err == nil || errors.Is(err, io.EOF) {
			err = ws.ErrUnexpectedEOF
		}
		c.closed = &ws.CloseError{Code: ws.StatusAbnormal, Err: err}
	}
	c.life.Store(over)
	closed := c.closed
	c.wakeLocked()
	c.in, c.windows = nil, nil
	c.io.Unlock()
	c.public.End()
	c.close(c.handler, closed)
}

// Expire implements loop.Owner: a ping is due, or its pong, or the end.
func (c *conn) Expire() {
	c.io.Lock()
	defer c.io.Unlock()
	config := c.config()
	if !c.begun {
		go c.beginAnyway()
		return
	}
	switch c.life.Load() {
	case closing, failed, over:
		if c.closed.Err == nil {
			c.closed.Err = ws.ErrCloseTimeout
		}
		c.io.CutLocked(ws.ErrCloseTimeout)
		return
	}
	if config.PingInterval == 0 {
		return
	}
	silent := c.io.SilentLocked()
	if c.io.BusyLocked() {
		silent = 0 // a pong could not be seen
	}
	switch {
	case silent < config.PingInterval-config.PingInterval/8:
		c.pinged = false
		c.io.SetDeadline(config.PingInterval - silent)
	case !c.pinged || config.PongTimeout == 0:
		c.pinged = true
		c.writeControlLocked(frame.Ping, nil)
		c.io.SetDeadline(either(config.PongTimeout, config.PingInterval))
	default:
		config.Logger.Info("websocket cut", "error", ws.ErrPongTimeout, "remote", c.public.RemoteAddr())
		c.cutLocked(ws.ErrPongTimeout)
	}
}

func either(a, b time.Duration) time.Duration {
	if a > 0 {
		return a
	}
	return b
}
