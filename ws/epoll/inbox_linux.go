package epoll

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/chaussette/chaussette/ws"
)

// inbox is the Handler of a connection that is read by Read: it keeps what has come until
// somebody asks for it. When it has enough, the loop stops reading.
type inbox struct {
	c *conn

	turn sync.Mutex // held while next is called
	next ws.Handler // who is served after all; guarded by turn

	mu       sync.Mutex
	messages []ws.Message
	size     int64
	paused   bool
	closed   *ws.CloseError
	some     chan struct{} // has an element when there is something new
}

// enough is how many bytes an inbox takes in before the peer has to wait.
const enough = 64 << 10

func newInbox(c *conn) *inbox { return &inbox{c: c, some: make(chan struct{}, 1)} }

// Open implements ws.Handler.
func (b *inbox) Open(*ws.Conn) {}

// Message implements ws.Handler.
func (b *inbox) Message(c *ws.Conn, typ ws.MessageType, p []byte) {
	b.turn.Lock()
	defer b.turn.Unlock()
	if b.next != nil {
		b.next.Message(c, typ, p)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = append(b.messages, ws.Message{Type: typ, Data: bytes.Clone(p)})
	b.size += int64(len(p)) + 64
	if b.size > enough && !b.paused {
		b.paused = true
		b.c.io.Lock()
		b.c.io.PauseLocked()
		b.c.io.Unlock()
	}
	b.tell()
}

// Close implements ws.Handler.
func (b *inbox) Close(c *ws.Conn, err *ws.CloseError) {
	b.turn.Lock()
	defer b.turn.Unlock()
	if b.next != nil {
		b.next.Close(c, err)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = err
	b.tell()
}

func (b *inbox) tell() {
	select {
	case b.some <- struct{}{}:
	default:
	}
}

// take returns the oldest message; why there will be none; or neither.
func (b *inbox) take() (m ws.Message, found bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.messages) == 0 {
		if b.closed != nil {
			return m, false, b.closed
		}
		return m, false, nil
	}
	m = b.messages[0]
	b.messages[0] = ws.Message{}
	if b.messages = b.messages[1:]; len(b.messages) == 0 {
		b.messages = nil
	}
	b.size -= int64(len(m.Data)) + 64
	if b.paused && b.size <= enough/2 {
		b.paused = false
		b.c.io.Lock()
		b.c.io.ResumeLocked()
		b.c.io.Unlock()
	}
	return m, true, nil
}

// serve has h called instead, beginning with what has come.
func (b *inbox) serve(c *ws.Conn, h ws.Handler) {
	b.turn.Lock()
	defer b.turn.Unlock()
	if b.next != nil {
		panic("websocket: a Conn can be served once only")
	}
	b.next = h
	b.c.open(h)
	for {
		m, found, err := b.take()
		switch {
		case found:
			b.c.deliverTo(h, m.Type, m.Data)
		case err != nil:
			b.c.close(h, b.closed)
			return
		default:
			return
		}
	}
}

var errServed = errors.New("websocket: the connection is read by its Handler")

// inbox returns the connection's inbox, nil if it is served by a Handler.
func (c *conn) inbox() *inbox {
	c.io.Lock()
	begun := c.begun
	c.io.Unlock()
	if !begun {
		c.beginAnyway()
	}
	box, _ := c.handler.(*inbox)
	return box
}

// Read implements ws.Driver.
func (c *conn) Read(ctx context.Context) (ws.MessageType, []byte, error) {
	box := c.inbox()
	if box == nil {
		return 0, nil, errServed
	}
	for {
		m, found, err := box.take()
		if found {
			return m.Type, m.Data, nil
		}
		if err != nil {
			return 0, nil, err
		}
		select {
		case <-box.some:
		case <-ctx.Done():
			c.CloseNow()
			return 0, nil, ctx.Err()
		}
	}
}

// Reader implements ws.Driver. The message has come whole before it can be read.
func (c *conn) Reader(ctx context.Context) (ws.MessageType, io.Reader, error) {
	typ, p, err := c.Read(ctx)
	return typ, bytes.NewReader(p), err
}
