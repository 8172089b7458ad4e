package link

import (
	"bytes"
	"context"
	"sync"

	"github.com/chaussette/chaussette/ws"
)

// Inbox is the Handler of a connection that has none of the app's: it keeps a message until
// somebody asks for it. The engine reads no further then, so that what comes after the
// message happens after it for the app, too: a close frame for example.
type Inbox struct {
	link *Link

	turn sync.Mutex // held while next is called
	next ws.Handler // who is served after all; guarded by turn

	mu       sync.Mutex
	messages []ws.Message // one, but where the engine reads ahead
	taken    bool         // the app has the last message, and has not asked for another
	closed   *ws.CloseError
	some     chan struct{} // has an element when there is something new
}

func newInbox(l *Link) *Inbox { return &Inbox{link: l, some: make(chan struct{}, 1)} }

// Full reports whether the app is to be waited for, before anything else is read.
func (b *Inbox) Full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.messages) > 0 || b.taken
}

// Open implements ws.Handler.
func (b *Inbox) Open(*ws.Conn) {}

// Message implements ws.Handler.
func (b *Inbox) Message(c *ws.Conn, typ ws.MessageType, p []byte) {
	b.turn.Lock()
	defer b.turn.Unlock()
	if b.next != nil {
		b.next.Message(c, typ, p)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = append(b.messages, ws.Message{Type: typ, Data: bytes.Clone(p)})
	b.tell()
}

// Close implements ws.Handler.
func (b *Inbox) Close(c *ws.Conn, err *ws.CloseError) {
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

func (b *Inbox) tell() {
	select {
	case b.some <- struct{}{}:
	default:
	}
}

// take returns the oldest message; why there will be none; or neither.
func (b *Inbox) take() (m ws.Message, found bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken = false
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
	b.taken = true
	return m, true, nil
}

// Serve has h called instead, beginning with what has come.
func (b *Inbox) Serve(h ws.Handler) {
	b.turn.Lock()
	defer b.turn.Unlock()
	if b.next != nil {
		panic("websocket: a Conn can be served once only")
	}
	b.next = h
	defer func() { b.mu.Lock(); b.taken = false; b.mu.Unlock() }()
	b.link.CallOpen(h)
	for {
		m, found, err := b.take()
		switch {
		case found:
			b.link.CallMessage(h, m.Type, m.Data)
		case err != nil:
			b.link.CallClose(h, b.closed)
			return
		default:
			return
		}
	}
}

// Read waits for the oldest message. When there is none, it calls ask, so that the engine
// reads on.
func (b *Inbox) Read(ctx context.Context, ask func()) (ws.MessageType, []byte, error) {
	for {
		m, found, err := b.take()
		if found {
			return m.Type, m.Data, nil
		}
		if err != nil {
			return 0, nil, err
		}
		ask()
		select {
		case <-b.some:
		case <-ctx.Done():
			b.link.CloseNow()
			return 0, nil, ctx.Err()
		}
	}
}

// Served reports whether Serve was called.
func (b *Inbox) Served() bool {
	b.turn.Lock()
	defer b.turn.Unlock()
	return b.next != nil
}
