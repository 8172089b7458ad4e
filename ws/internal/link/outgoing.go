package link

import (
	"context"
	"encoding/binary"
	"errors"
	"io"

	"github.com/chaussette/chaussette/ws"
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

func (l *Link) outLocked() *outgoing {
	if l.out == nil {
		l.out = &outgoing{}
	}
	return l.out
}

// wakeLocked wakes all who wait, so that they look again.
func (l *Link) wakeLocked() {
	if l.out == nil {
		return
	}
	if l.out.room != nil {
		close(l.out.room)
		l.out.room = nil
	}
	if l.closed != nil {
		for _, pong := range l.out.pings {
			close(pong)
		}
		l.out.pings = nil
	}
	if l.out.writer == nil && len(l.out.pings) == 0 {
		l.out = nil
	}
}

// SentLocked is called when some of what has waited was sent.
func (l *Link) SentLocked() {
	if l.out != nil && l.waitingLocked() <= l.Config().MaxQueue/2 {
		l.wakeLocked()
	}
}

func (l *Link) waitingLocked() int64 {
	n := l.wire.Waiting()
	if l.out != nil {
		n += l.out.heldLen
	}
	return n
}

func (l *Link) roomLocked(n int) bool {
	max := l.Config().MaxQueue
	waiting := l.waitingLocked()
	return max == 0 || waiting == 0 || waiting+int64(n) <= max
}

// Send implements ws.Driver.
func (l *Link) Send(typ ws.MessageType, p []byte) error {
	l.wire.Lock()
	defer l.wire.Unlock()
	if err := l.closedLocked(); err != nil {
		return err
	}
	if !l.roomLocked(len(p)) {
		return l.overflowLocked()
	}
	l.messageLocked(typ, p)
	return nil
}

// SendPrepared implements ws.Driver.
func (l *Link) SendPrepared(p *ws.Prepared) error {
	frames := p.Frames(l.Conn.Deflate())
	l.wire.Lock()
	defer l.wire.Unlock()
	now, err := l.AdmitLocked(frames)
	if now {
		l.wire.Frames(frames)
	}
	return err
}

// AdmitLocked reports whether frames are to be sent now. If not, they are kept until they
// may, or there is an error.
func (l *Link) AdmitLocked(frames []byte) (now bool, err error) {
	switch {
	case l.closed != nil:
		return false, l.closed
	case l.out == nil && l.wire.Waiting() == 0: // the way nearly all go
		return true, nil
	case !l.roomLocked(len(frames)):
		return false, l.overflowLocked()
	case l.out != nil && l.out.writer != nil:
		l.holdLocked(frames)
		return false, nil
	}
	return true, nil
}

func (l *Link) overflowLocked() error {
	if l.Config().Overflow == ws.OverflowClose {
		l.failLocked(ws.StatusTryAgainLater, ws.ErrQueueFull.Error(), ws.ErrQueueFull)
	}
	return ws.ErrQueueFull
}

func (l *Link) holdLocked(frames []byte) {
	l.out.held = append(l.out.held, frames)
	l.out.heldLen += int64(len(frames))
}

// messageLocked sends a message in one frame.
func (l *Link) messageLocked(typ ws.MessageType, p []byte) {
	if l.out != nil && l.out.writer != nil {
		l.holdLocked(l.wire.Encode(typ, p))
		return
	}
	l.wire.Message(typ, p)
}

// waitLocked unlocks, waits until it is worth looking again, and locks.
func (l *Link) waitLocked(ctx context.Context) error {
	out := l.outLocked()
	if out.room == nil {
		out.room = make(chan struct{})
	}
	room := out.room
	l.wire.Unlock()
	defer l.wire.Lock()
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Write implements ws.Driver.
func (l *Link) Write(ctx context.Context, typ ws.MessageType, p []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.wire.Lock()
	defer l.wire.Unlock()
	for {
		if err := l.closedLocked(); err != nil {
			return err
		}
		if l.roomLocked(len(p)) && (l.out == nil || l.out.writer == nil) {
			l.messageLocked(typ, p)
			return nil
		}
		if err := l.waitLocked(ctx); err != nil {
			return err
		}
	}
}

// Writer implements ws.Driver.
func (l *Link) Writer(ctx context.Context, typ ws.MessageType) (io.WriteCloser, error) {
	l.wire.Lock()
	defer l.wire.Unlock()
	for {
		if err := l.closedLocked(); err != nil {
			return nil, err
		}
		if l.out == nil || l.out.writer == nil {
			w := &writer{link: l, ctx: ctx, opcode: frame.Opcode(typ)}
			l.outLocked().writer = w
			return w, nil
		}
		if err := l.waitLocked(ctx); err != nil {
			return nil, err
		}
	}
}

// writer sends one message in fragments. It does not compress them, which is allowed.
type writer struct {
	link   *Link
	ctx    context.Context
	opcode frame.Opcode // of the next frame
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
	l := w.link
	l.wire.Lock()
	defer l.wire.Unlock()
	for {
		if err := l.closedLocked(); err != nil {
			return err
		}
		if l.roomLocked(len(p)) {
			break
		}
		if err := l.waitLocked(w.ctx); err != nil {
			l.cutLocked(err)
			return err
		}
	}
	l.wire.Frame(w.opcode, last, p)
	w.opcode = frame.Continuation
	return nil
}

// Close sends the last fragment, and what has waited for it.
func (w *writer) Close() error {
	if w.done {
		return errWriterClosed
	}
	w.done = true
	err := w.send(w.buffer, true)
	w.buffer = nil
	l := w.link
	l.wire.Lock()
	defer l.wire.Unlock()
	if l.out != nil && l.out.writer == w {
		held := l.out.held
		l.out.writer, l.out.held, l.out.heldLen = nil, nil, 0
		for _, frames := range held {
			l.wire.Frames(frames)
		}
		l.wakeLocked()
	}
	return err
}

// Ping implements ws.Driver.
func (l *Link) Ping(ctx context.Context) error {
	l.wire.Lock()
	if l.closed != nil {
		defer l.wire.Unlock()
		return l.closed
	}
	out := l.outLocked()
	if out.pings == nil {
		out.pings = map[uint64]chan struct{}{}
	}
	out.pingSeq++
	seq := out.pingSeq
	pong := make(chan struct{})
	out.pings[seq] = pong
	l.wire.Frame(frame.Ping, true, binary.BigEndian.AppendUint64(nil, seq))
	l.wire.Unlock()
	var err error
	select {
	case <-pong:
	case <-ctx.Done():
		err = ctx.Err()
	}
	l.wire.Lock()
	defer l.wire.Unlock()
	if l.out != nil {
		delete(l.out.pings, seq)
	}
	if err == nil {
		return l.closedLocked() // it has ended if there was no pong
	}
	return err
}

func (l *Link) ponged(p []byte) {
	l.wire.Lock()
	defer l.wire.Unlock()
	if l.out == nil || len(p) != 8 {
		return
	}
	seq := binary.BigEndian.Uint64(p)
	if pong, found := l.out.pings[seq]; found {
		delete(l.out.pings, seq)
		close(pong)
	}
}

// Queued implements ws.Driver.
func (l *Link) Queued() int64 {
	l.wire.Lock()
	defer l.wire.Unlock()
	return l.waitingLocked()
}
