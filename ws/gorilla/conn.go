package gorilla

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chaussette/chaussette/loop/wheel"
	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/internal/deflate"
	"github.com/chaussette/chaussette/ws/internal/frame"
	"github.com/chaussette/chaussette/ws/internal/link"
	"github.com/chaussette/chaussette/ws/internal/utf8stream"
)

// conn is a ws.Driver. Its link.Wire is the type wire.
type conn struct {
	link    link.Link
	engine  *Engine
	library *websocket.Conn
	stream  stream
	timer   wheel.Timer

	waiting  atomic.Bool  // for the network
	lastRead atomic.Int64 // milliseconds since the engine's start

	mu     sync.Mutex // guards the write side, and what of the link is called locked
	readMu sync.Mutex // held by who reads
	watch  *watch     // of the context of the last Read; guarded by readMu
}

// receive reads one message, appended to b. The error has been dealt with: the link
// knows why there will be no more.
func (c *conn) receive(b []byte) (ws.MessageType, []byte, error) {
	kind, r, err := c.library.NextReader()
	typ := ws.MessageType(kind)
	if err == nil {
		b, err = c.readAll(typ, b, r)
	}
	if err != nil {
		c.broken(err)
		return 0, nil, c.link.Closed()
	}
	return typ, b, nil
}

func (c *conn) readAll(typ ws.MessageType, b []byte, r io.Reader) ([]byte, error) {
	begin, max := len(b), c.link.Config().MaxMessageSize
	// The guard knows how long the frame is; it is not believed further than that.
	b = slices.Grow(b, int(min(c.stream.guard.size, 64<<10))+1)
	check := textCheck{text: typ == ws.Text}
	for {
		if len(b) == cap(b) {
			b = slices.Grow(b, len(b))
		}
		n, err := r.Read(b[len(b):cap(b)])
		part := b[len(b) : len(b)+n]
		b = b[:len(b)+n]
		if !check.write(part) {
			return b, ws.ErrInvalidUTF8
		}
		if max > 0 && int64(len(b)-begin) > max { // decompressed
			return b, tooBig(max)
		}
		if err == io.EOF {
			return b, check.end()
		}
		if err != nil {
			return b, err
		}
	}
}

// textCheck checks text as it arrives.
type textCheck struct {
	text    bool
	checker utf8stream.Checker
}

func (t *textCheck) write(p []byte) bool { return !t.text || t.checker.Write(p) }

func (t *textCheck) end() error {
	if t.text && !t.checker.Whole() {
		return ws.ErrInvalidUTF8
	}
	return nil
}

// broken tells the link why reading has ended.
func (c *conn) broken(err error) {
	g := &c.stream.guard
	switch {
	case g.end == errCloseFrame:
		c.link.PeerClosed(g.code, g.reason)
		c.finish()
	case g.end != nil:
		c.link.Fail(g.end)
	case c.stream.readErr != nil:
		c.link.Lost(c.stream.readErr)
	case errors.Is(err, ws.ErrInvalidUTF8), errors.Is(err, ws.ErrMessageTooBig):
		c.link.Fail(err)
	default:
		c.link.Fail(fmt.Errorf("%w: %w", ws.ErrCompressed, err))
	}
}

// finish closes the connection, on which all is said, when it is sent.
func (c *conn) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stream.finish()
	c.link.AnywayLocked()
}

var messages = sync.Pool{New: func() any { return new([]byte) }}

// keptMessage is the largest buffer that is kept for the next message.
const keptMessage = 64 << 10

// run reads for a Handler, and then until the peer has left.
func (c *conn) run() {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	c.watch.drop()
	h := c.link.Handler()
	for c.link.Life() <= link.Closing {
		buffer := messages.Get().(*[]byte)
		typ, p, err := c.receive((*buffer)[:0])
		if err == nil {
			c.link.CallMessage(h, typ, p)
			if *buffer = p; cap(p) <= keptMessage {
				messages.Put(buffer)
			}
		}
	}
	c.forget()
	c.stream.Conn.Close()
	c.engine.wheel.Stop(&c.timer)
	c.link.Ended(c.stream.readErr)
	c.engine.remove(c)
}

// forget reads until the peer has left, or the connection is cut.
func (c *conn) forget() {
	if c.stream.readErr == nil {
		io.Copy(io.Discard, struct{ io.Reader }{c.stream.Conn})
	}
}

// Expire implements wheel.Expirer.
func (c *conn) Expire(*wheel.Timer) { c.link.Expire() }

// Serve implements ws.Driver.
func (c *conn) Serve(h ws.Handler) { c.link.Serve(h, nil) }

// watch cuts a connection when a context ends while it is read. One serves all Reads
// with the same context.
type watch struct {
	ctx  context.Context
	c    *conn
	stop func() bool
	busy atomic.Bool // a Read is under way
}

func (w *watch) drop() {
	if w != nil && w.stop != nil {
		w.stop()
	}
}

// begin returns the watch for a Read with ctx, nil if it never ends.
func (c *conn) begin(ctx context.Context) *watch {
	if ctx.Done() == nil {
		return nil
	}
	if c.watch == nil || c.watch.ctx != ctx {
		c.watch.drop()
		w := &watch{ctx: ctx, c: c}
		w.stop = context.AfterFunc(ctx, func() {
			if w.busy.Load() {
				c.CloseNow()
			}
		})
		c.watch = w
	}
	c.watch.busy.Store(true)
	if ctx.Err() != nil {
		c.CloseNow()
	}
	return c.watch
}

func (w *watch) end() error {
	if w == nil {
		return nil
	}
	w.busy.Store(false)
	return w.ctx.Err()
}

var errServed = errors.New("websocket: the connection is read by its Handler")

// lockRead locks the read side for Read and Reader.
func (c *conn) lockRead() error {
	c.mu.Lock()
	box, isInbox := c.link.Handler().(*link.Inbox)
	served := c.link.Handler() != nil && (!isInbox || box.Served())
	c.mu.Unlock()
	if served {
		return errServed
	}
	c.readMu.Lock()
	if c.link.Life() > link.Closing {
		c.readMu.Unlock()
		return c.link.Closed()
	}
	return nil
}

// Read implements ws.Driver.
func (c *conn) Read(ctx context.Context) (ws.MessageType, []byte, error) {
	if err := c.lockRead(); err != nil {
		return 0, nil, err
	}
	defer c.readMu.Unlock()
	w := c.begin(ctx)
	typ, p, err := c.receive(nil)
	if ended := w.end(); ended != nil && err != nil {
		err = ended
	}
	return typ, p, err
}

// Reader implements ws.Driver.
func (c *conn) Reader(ctx context.Context) (ws.MessageType, io.Reader, error) {
	if err := c.lockRead(); err != nil {
		return 0, nil, err
	}
	defer c.readMu.Unlock()
	w := c.begin(ctx)
	kind, r, err := c.library.NextReader()
	if err != nil {
		c.broken(err)
		err = c.link.Closed()
	}
	if ended := w.end(); ended != nil && err != nil {
		err = ended
	}
	if err != nil {
		return 0, nil, err
	}
	typ := ws.MessageType(kind)
	return typ, &reader{c: c, ctx: ctx, r: r, check: textCheck{text: typ == ws.Text}}, nil
}

// reader reads one message as it comes.
type reader struct {
	c     *conn
	ctx   context.Context
	r     io.Reader
	check textCheck
	size  int64
	err   error
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	r.c.readMu.Lock()
	defer r.c.readMu.Unlock()
	w := r.c.begin(r.ctx)
	n, err := r.r.Read(p)
	max := r.c.link.Config().MaxMessageSize
	r.size += int64(n)
	switch {
	case !r.check.write(p[:n]):
		err = ws.ErrInvalidUTF8
	case max > 0 && r.size > max:
		err = tooBig(max)
	case err == io.EOF:
		if err = r.check.end(); err == nil {
			r.err = io.EOF
			w.end()
			return n, io.EOF
		}
	}
	ended := w.end()
	if err != nil {
		r.c.broken(err)
		r.err = r.c.link.Closed()
		if ended != nil {
			r.err = ended
		}
		return 0, r.err
	}
	return n, nil
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
func (c *conn) Ping(ctx context.Context) error { return c.link.Ping(ctx) }

// Close implements ws.Driver.
func (c *conn) Close(code ws.StatusCode, reason string) error { return c.link.Close(code, reason) }

// CloseNow implements ws.Driver.
func (c *conn) CloseNow() error { return c.link.CloseNow() }

// Queued implements ws.Driver.
func (c *conn) Queued() int64 { return c.link.Queued() }

// wire is the conn as its link sees it.
type wire conn

func (w *wire) Lock()           { w.mu.Lock() }
func (w *wire) Unlock()         { w.mu.Unlock() }
func (w *wire) Waiting() int64  { return w.stream.bytes }
func (w *wire) Halve()          { w.stream.halve() }
func (w *wire) Cut(error)       { w.stream.Conn.Close() }
func (w *wire) Start()          { w.engine.tasks.Go((*conn)(w).run) }
func (w *wire) Frames(b []byte) { w.stream.write(nil, b, true) }

func (w *wire) SetDeadline(d time.Duration) {
	if d <= 0 {
		w.engine.wheel.Stop(&w.timer)
		return
	}
	w.engine.wheel.Set(&w.timer, (*conn)(w), d, min(d/8, time.Second))
}

// Silent is zero while nobody reads: what has come meanwhile could not be seen.
func (w *wire) Silent() time.Duration {
	if !w.waiting.Load() {
		return 0
	}
	return time.Since(w.engine.start) - time.Duration(w.lastRead.Load())*time.Millisecond
}

func (w *wire) LastRead() uint32 { return uint32(w.lastRead.Load()) }

func (w *wire) Frame(opcode frame.Opcode, fin bool, p []byte) {
	var array [frame.MaxHeader]byte
	head := ws.AppendHeader(array[:0], byte(opcode), len(p))
	if !fin {
		head[0] &^= 0x80
	}
	w.stream.write(nil, append(bytes.Clone(head), p...), true)
}

func (w *wire) Message(typ ws.MessageType, p []byte) {
	if d := w.link.Conn.Deflate(); d != nil && len(p) >= d.Threshold {
		// The library compresses with the largest window only.
		const rsv1 = 0x40
		packed := deflate.Compress(nil, p, d.Level, d.ServerMaxWindowBits, nil)
		w.stream.write(ws.AppendHeader(nil, byte(typ)|rsv1, len(packed)), packed, true)
		return
	}
	w.library.EnableWriteCompression(false)
	// What does not fit its buffer, the library writes after that.
	w.stream.holding = len(p) > writeBuffer
	w.library.WriteMessage(int(typ), p) // its errors are the network's: left for reading to find
}

func (w *wire) Encode(typ ws.MessageType, p []byte) []byte {
	return append(ws.AppendHeader(nil, byte(typ), len(p)), p...)
}
