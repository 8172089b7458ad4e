package epoll

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	cipher "github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/loop"
	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/internal/deflate"
	"github.com/chaussette/chaussette/ws/internal/frame"
	"github.com/chaussette/chaussette/ws/internal/link"
)

// conn is a ws.Driver and its ws.Conn in one piece: what an idle connection costs. Its
// link.Wire is the type wire.
type conn struct {
	link   link.Link
	io     loop.Conn
	engine *Engine
	opened atomic.Bool

	// These belong to who runs the connection (loop.Owner).
	in    *incoming // a frame or message that has not come whole, or nil
	early *[]byte   // came with the handshake, or before the app asked for it; with io locked

	windows *windows // of permessage-deflate, where a context is taken over; with io locked
}

// attach makes c a WebSocket: it writes the answer to the handshake.
func (c *conn) attach(h *ws.Handshake, early []byte) {
	c.link.Init((*wire)(c), c, h)
	c.engine.open.Add(1)
	c.opened.Store(true)
	c.io.Lock()
	defer c.io.Unlock()
	_ = c.io.WriteLocked(h.Response, nil, false)
	if len(early) > 0 {
		kept := bytes.Clone(early)
		c.early = &kept
	}
	c.io.SetDeadline(untouched)
}

// Data implements loop.Owner: b is taken apart in place.
func (c *conn) Data(b []byte) bool {
	rules := frame.Rules{Compression: c.link.Conn.Deflate() != nil}
	for len(b) > 0 {
		switch c.link.Life() {
		case link.Failed:
			return true // until the peer leaves
		case link.Over:
			return false
		}
		if c.wait(b) {
			return true
		}
		var err error
		if b, err = c.next(b, rules); err != nil {
			c.link.Fail(err)
			return true
		}
	}
	return c.link.Life() != link.Over
}

// next takes one frame, or what there is of it, and returns the rest.
func (c *conn) next(b []byte, rules frame.Rules) (rest []byte, err error) {
	if c.in != nil {
		return c.in.feed(c, b)
	}
	h, size, err := frame.Parse(b, rules)
	if err != nil {
		return nil, err
	}
	if size == 0 || !h.Fin || h.Compressed || h.Length > int64(len(b)-size) {
		c.in = newIncoming()
		return c.in.feed(c, b)
	}
	// The way nearly all frames go.
	end := size + int(h.Length)
	payload := b[size:end]
	cipher.Cipher(payload, h.Mask, 0)
	if h.Opcode.Control() {
		return b[end:], c.link.Control(h.Opcode, payload)
	}
	return b[end:], c.whole(ws.MessageType(h.Opcode), payload)
}

// Ended implements loop.Owner.
func (c *conn) Ended(err error) {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.ENOMEM) {
		c.engine.config.Logger.Warn("a connection is cut: the system watches no more (see fs.epoll.max_user_watches)", "error", err)
	}
	c.in = nil
	c.engine.open.Add(-1)
	c.link.Ended(err)
}

// SentLocked implements loop.Owner.
func (c *conn) SentLocked() {
	c.link.SentLocked()
}

// Expire implements loop.Owner.
func (c *conn) Expire() {
	c.io.Lock()
	untouched := c.link.Handler() == nil
	c.io.Unlock()
	if untouched {
		go c.link.Inbox(c.takeEarly)
		return
	}
	c.link.Expire()
}

// takeEarly goes on with what has come early. The loop leaves the connection alone.
func (c *conn) takeEarly() {
	c.io.Lock()
	early := c.early
	c.early = nil
	c.io.Unlock()
	if early != nil && !c.Data(*early) {
		c.io.Lock()
		c.io.FinishLocked()
		c.io.Unlock()
	}
}

// wait keeps b for later if the app reads by Read, and has a message that it has not done
// with.
func (c *conn) wait(b []byte) bool {
	box, ok := c.link.Handler().(*link.Inbox)
	if !ok {
		return false
	}
	c.io.Lock()
	defer c.io.Unlock()
	if !box.Full() {
		return false
	}
	if c.early == nil {
		c.early = new([]byte)
	}
	*c.early = append(*c.early, b...)
	c.io.PauseLocked()
	return true
}

// goOn takes up what wait has kept.
func (c *conn) goOn() {
	c.io.Lock()
	if c.early == nil || !c.io.ClaimLocked() {
		c.io.ResumeLocked()
		c.io.Unlock()
		return
	}
	c.io.ResumeLocked()
	c.io.Unlock()
	c.takeEarly()
	c.io.Lock()
	c.io.StartLocked()
	c.io.Unlock()
}

// Serve implements ws.Driver.
func (c *conn) Serve(h ws.Handler) {
	c.link.Serve(h, c.takeEarly)
	c.goOn()
}

var errServed = errors.New("websocket: the connection is read by its Handler")

// Read implements ws.Driver.
func (c *conn) Read(ctx context.Context) (ws.MessageType, []byte, error) {
	box := c.link.Inbox(c.takeEarly)
	if box == nil {
		return 0, nil, errServed
	}
	return box.Read(ctx, c.goOn)
}

// Reader implements ws.Driver. The message has come whole before it can be read.
func (c *conn) Reader(ctx context.Context) (ws.MessageType, io.Reader, error) {
	typ, p, err := c.Read(ctx)
	return typ, bytes.NewReader(p), err
}

// Write implements ws.Driver.
func (c *conn) Write(ctx context.Context, typ ws.MessageType, p []byte) error {
	return c.link.Write(ctx, typ, p)
}

// Writer implements ws.Driver.
func (c *conn) Writer(ctx context.Context, typ ws.MessageType) (io.WriteCloser, error) {
	return c.link.Writer(ctx, typ)
}

// Send implements ws.Driver.
func (c *conn) Send(typ ws.MessageType, p []byte) error { return c.link.Send(typ, p) }

// SendPrepared implements ws.Driver.
func (c *conn) SendPrepared(p *ws.Prepared) error { return c.link.SendPrepared(p) }

// Ping implements ws.Driver.
func (c *conn) Ping(ctx context.Context) error {
	c.link.Inbox(c.takeEarly) // somebody has to read the pong
	return c.link.Ping(ctx)
}

// Close implements ws.Driver.
func (c *conn) Close(code ws.StatusCode, reason string) error { return c.link.Close(code, reason) }

// CloseNow implements ws.Driver.
func (c *conn) CloseNow() error { return c.link.CloseNow() }

// Queued implements ws.Driver.
func (c *conn) Queued() int64 { return c.link.Queued() }

// wire is the conn as its link sees it.
type wire conn

func (w *wire) Lock()                       { w.io.Lock() }
func (w *wire) Unlock()                     { w.io.Unlock() }
func (w *wire) Waiting() int64              { return w.io.WaitingLocked() }
func (w *wire) SetDeadline(d time.Duration) { w.io.SetDeadline(d) }
func (w *wire) LastRead() uint32            { return w.io.LastReadLocked() }
func (w *wire) Start()                      { w.io.StartLocked() }
func (w *wire) Halve()                      { w.io.HalveLocked() }
func (w *wire) Cut(err error)               { w.io.CutLocked(err) }
func (w *wire) Frames(b []byte)             { w.io.WriteLocked(nil, b, true) }

// Silent is zero while a handler runs: what has come meanwhile could not be seen.
func (w *wire) Silent() time.Duration {
	if w.io.BusyLocked() {
		return 0
	}
	return w.io.SilentLocked()
}

func (w *wire) Frame(opcode frame.Opcode, fin bool, p []byte) {
	var array [frame.MaxHeader]byte
	head := ws.AppendHeader(array[:0], byte(opcode), len(p))
	if !fin {
		head[0] &^= 0x80
	}
	w.io.WriteLocked(head, p, false)
}

var packed = sync.Pool{New: func() any { return new([]byte) }}

func (w *wire) Message(typ ws.MessageType, p []byte) {
	var array [frame.MaxHeader]byte
	d := w.link.Conn.Deflate()
	if d == nil || len(p) < d.Threshold {
		w.io.WriteLocked(ws.AppendHeader(array[:0], byte(typ), len(p)), p, false)
		return
	}
	buffer := packed.Get().(*[]byte)
	*buffer = w.compress(d, (*buffer)[:0], p)
	w.io.WriteLocked(ws.AppendHeader(array[:0], byte(typ)|rsv1, len(*buffer)), *buffer, false)
	if cap(*buffer) <= keptMessage {
		packed.Put(buffer)
	}
}

func (w *wire) Encode(typ ws.MessageType, p []byte) []byte {
	d := w.link.Conn.Deflate()
	if d == nil || len(p) < d.Threshold {
		return append(ws.AppendHeader(nil, byte(typ), len(p)), p...)
	}
	p = w.compress(d, nil, p)
	return append(ws.AppendHeader(nil, byte(typ)|rsv1, len(p)), p...)
}

const rsv1 = 0x40

// compress appends the compressed message, with what was sent before as context.
func (w *wire) compress(d *ws.DeflateParams, b, p []byte) []byte {
	if d.ServerNoContextTakeover {
		return deflate.Compress(b, p, d.Level, d.ServerMaxWindowBits, nil)
	}
	if w.windows == nil {
		w.windows = &windows{}
	}
	b = deflate.Compress(b, p, d.Level, d.ServerMaxWindowBits, w.windows.write)
	w.windows.write = deflate.Slide(w.windows.write, p, d.ServerMaxWindowBits)
	return b
}
