package epoll

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/internal/deflate"
	"github.com/chaussette/chaussette/ws/internal/frame"
)

// outgoing is who waits to write. Most connections have none, most of the time.
type outgoing struct {
	room    chan struct{} // closed when there may be room, or the writer has gone; or nil
	writer  *writer       // a message that is being written
	held    [][]byte      // frames that wait for its end
	heldLen int64
	pings   map[uint64]chan struct{}
	pingSeq uint64
}

func (c *conn) outLocked() *outgoing {
	if c.out == nil {
		c.out = &outgoing{}
	}
	return c.out
}

// wakeLocked wakes all who wait, so that they look again.
func (c *conn) wakeLocked() {
	if c.out == nil {
		return
	}
	if c.out.room != nil {
		close(c.out.room)
		c.out.room = nil
	}
	if c.closed != nil {
		for _, pong := range c.out.pings {
			close(pong)
		}
		c.out.pings = nil
	}
	if c.out.writer == nil && len(c.out.pings) == 0 {
		c.out = nil
	}
}

// SentLocked implements loop.Owner.
func (c *conn) SentLocked() {
	if c.out != nil && c.waitingLocked() <= c.config().MaxQueue/2 {
		c.wakeLocked()
	}
}

func (c *conn) waitingLocked() int64 {
	n := c.io.WaitingLocked()
	if c.out != nil {
		n += c.out.heldLen
	}
	return n
}

func (c *conn) roomLocked(n int) bool {
	max := c.config().MaxQueue
	waiting := c.waitingLocked()
	return max == 0 || waiting == 0 || waiting+int64(n) <= max
}

// writableLocked is why nothing can be sent any more, or nil.
func (c *conn) writableLocked() error {
	if c.closed != nil {
		return c.closed
	}
	return nil
}

// Send implements ws.Driver.
func (c *conn) Send(typ ws.MessageType, p []byte) error {
	c.io.Lock()
	defer c.io.Unlock()
	if err := c.writableLocked(); err != nil {
		return err
	}
	if !c.roomLocked(len(p)) {
		return c.overflowLocked()
	}
	c.messageLocked(typ, p)
	return nil
}

// SendPrepared implements ws.Driver.
func (c *conn) SendPrepared(p *ws.Prepared) error {
	frames := p.Frames(c.public.Deflate())
	c.io.Lock()
	defer c.io.Unlock()
	if err := c.writableLocked(); err != nil {
		return err
	}
	if !c.roomLocked(len(frames)) {
		return c.overflowLocked()
	}
	if c.out != nil && c.out.writer != nil {
		c.holdLocked(frames)
		return nil
	}
	c.io.WriteLocked(nil, frames, true)
	return nil
}

func (c *conn) overflowLocked() error {
	if c.config().Overflow == ws.OverflowClose {
		c.failLocked(ws.StatusTryAgainLater, ws.ErrQueueFull.Error(), ws.ErrQueueFull)
	}
	return ws.ErrQueueFull
}

func (c *conn) holdLocked(frames []byte) {
	c.out.held = append(c.out.held, frames)
	c.out.heldLen += int64(len(frames))
}

var packed = sync.Pool{New: func() any { return new([]byte) }}

// messageLocked sends a message in one frame.
func (c *conn) messageLocked(typ ws.MessageType, p []byte) {
	first := byte(typ)
	if d := c.public.Deflate(); d != nil && len(p) >= d.Threshold {
		buffer := packed.Get().(*[]byte)
		p = c.compressLocked(d, (*buffer)[:0], p)
		defer func() {
			if *buffer = p; cap(p) > keptMessage {
				*buffer = nil
			}
			packed.Put(buffer)
		}()
		const rsv1 = 0x40
		first |= rsv1
	}
	var array [frame.MaxHeader]byte
	head := ws.AppendHeader(array[:0], first, len(p))
	if c.out != nil && c.out.writer != nil {
		c.holdLocked(append(head, p...))
		return
	}
	c.io.WriteLocked(head, p, false)
}

func (c *conn) compressLocked(d *ws.DeflateParams, b, p []byte) []byte {
	if d.ServerNoContextTakeover {
		return deflate.Compress(b, p, d.Level, d.ServerMaxWindowBits, nil)
	}
	if c.windows == nil {
		c.windows = &windows{}
	}
	b = deflate.Compress(b, p, d.Level, d.ServerMaxWindowBits, c.windows.write)
	c.windows.write = deflate.Slide(c.windows.write, p, d.ServerMaxWindowBits)
	return b
}

// waitLocked unlocks, waits until it is worth looking again, and locks.
func (c *conn) waitLocked(ctx context.Context) error {
	out := c.outLocked()
	if out.room == nil {
		out.room = make(chan struct{})
	}
	room := out.room
	c.io.Unlock()
	defer c.io.Lock()
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Write implements ws.Driver.
func (c *conn) Write(ctx context.Context, typ ws.MessageType, p []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.io.Lock()
	defer c.io.Unlock()
	for {
		if err := c.writableLocked(); err != nil {
			return err
		}
		if c.roomLocked(len(p)) && (c.out == nil || c.out.writer == nil) {
			c.messageLocked(typ, p)
			return nil
		}
		if err := c.waitLocked(ctx); err != nil {
			return err
		}
	}
}

// Writer implements ws.Driver.
func (c *conn) Writer(ctx context.Context, typ ws.MessageType) (io.WriteCloser, error) {
	c.io.Lock()
	defer c.io.Unlock()
	for {
		if err := c.writableLocked(); err != nil {
			return nil, err
		}
		if c.out == nil || c.out.writer == nil {
			w := &writer{c: c, ctx: ctx, opcode: byte(typ)}
			c.outLocked().writer = w
			return w, nil
		}
		if err := c.waitLocked(ctx); err != nil {
			return nil, err
		}
	}
}

// writer sends one message in fragments. It does not compress them, which is allowed.
type writer struct {
	c      *conn
	ctx    context.Context
	opcode byte // of the next frame
	buffer []byte
	done   bool
}

const fragment = 4096

var errWriterClosed = errors.New("websocket: the message is finished")

func (w *writer) Write(p []byte) (int, error) {
	if w.done {
		return 0, errWriterClosed
	}
	if len(w.buffer)+len(p) <= fragment {
		w.buffer = append(w.buffer, p...)
		return len(p), nil
	}
	n := len(p)
	if len(w.buffer) > 0 {
		p = append(w.buffer, p...)
	}
	if err := w.send(p, false); err != nil {
		return 0, err
	}
	w.buffer = w.buffer[:0]
	return n, nil
}

func (w *writer) send(p []byte, last bool) error {
	c := w.c
	c.io.Lock()
	defer c.io.Unlock()
	for {
		if err := c.writableLocked(); err != nil {
			return err
		}
		if c.roomLocked(len(p)) {
			break
		}
		if err := c.waitLocked(w.ctx); err != nil {
			c.cutLocked(err)
			return err
		}
	}
	var array [frame.MaxHeader]byte
	head := ws.AppendHeader(array[:0], w.opcode, len(p))
	if !last {
		head[0] &^= 0x80
	}
	w.opcode = byte(frame.Continuation)
	return c.io.WriteLocked(head, p, false)
}

// Close sends the last fragment, and what has waited for it.
func (w *writer) Close() error {
	if w.done {
		return errWriterClosed
	}
	w.done = true
	err := w.send(w.buffer, true)
	c := w.c
	c.io.Lock()
	defer c.io.Unlock()
	if c.out != nil && c.out.writer == w {
		held := c.out.held
		c.out.writer, c.out.held, c.out.heldLen = nil, nil, 0
		for _, frames := range held {
			c.io.WriteLocked(nil, frames, true)
		}
		c.wakeLocked()
	}
	return err
}

// Ping implements ws.Driver.
func (c *conn) Ping(ctx context.Context) error {
	c.beginAnyway() // somebody has to read the pong
	c.io.Lock()
	if err := c.writableLocked(); err != nil {
		c.io.Unlock()
		return err
	}
	out := c.outLocked()
	if out.pings == nil {
		out.pings = map[uint64]chan struct{}{}
	}
	out.pingSeq++
	seq := out.pingSeq
	pong := make(chan struct{})
	out.pings[seq] = pong
	c.writeControlLocked(frame.Ping, binary.BigEndian.AppendUint64(nil, seq))
	c.io.Unlock()
	var err error
	select {
	case <-pong:
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.io.Lock()
	defer c.io.Unlock()
	if c.out != nil {
		delete(c.out.pings, seq)
	}
	if err == nil {
		return c.writableLocked() // it has ended if there was no pong
	}
	return err
}

func (c *conn) ponged(p []byte) {
	c.io.Lock()
	defer c.io.Unlock()
	if c.out == nil || len(p) != 8 {
		return
	}
	seq := binary.BigEndian.Uint64(p)
	if pong, found := c.out.pings[seq]; found {
		delete(c.out.pings, seq)
		close(pong)
	}
}

// Close implements ws.Driver.
func (c *conn) Close(code ws.StatusCode, reason string) error {
	c.io.Lock()
	defer c.io.Unlock()
	if err := c.writableLocked(); err != nil {
		return err
	}
	c.closed = &ws.CloseError{Code: code, Reason: reason, Local: true}
	c.io.WriteLocked(frame.AppendClose(nil, code, reason), nil, false)
	c.life.Store(closing)
	if !c.begun {
		go c.beginAnyway() // somebody has to read the answer
	}
	c.io.SetDeadline(c.config().CloseTimeout)
	c.wakeLocked()
	return nil
}

// CloseNow implements ws.Driver.
func (c *conn) CloseNow() error {
	c.io.Lock()
	defer c.io.Unlock()
	if c.life.Load() == over {
		return c.writableLocked()
	}
	c.cutLocked(nil)
	return nil
}

func (c *conn) cutLocked(err error) {
	if c.closed == nil {
		c.closed = &ws.CloseError{Code: ws.StatusAbnormal, Local: true, Err: err}
	}
	c.life.Store(over)
	c.io.CutLocked(err)
	c.wakeLocked()
	if !c.begun {
		go c.beginAnyway()
	}
}

// Queued implements ws.Driver.
func (c *conn) Queued() int64 {
	c.io.Lock()
	defer c.io.Unlock()
	return c.waitingLocked()
}
