package engineio

import (
	"sync"

	"github.com/chaussette/chaussette/ws"
)

// Fan is Session.SendPrepared for many sessions, which costs less where they are gathered:
// those on WebSocket are sent to when the Fan is closed, the others at once. It is for one
// goroutine, and for one message a session.
type Fan struct {
	shares []share
}

// share is the connections that get the same bytes. There are few: one for each revision
// and parser.
type share struct {
	frames *ws.Prepared
	conns  []*ws.Conn
}

var fans = sync.Pool{New: func() any { return new(Fan) }}

// NewFan returns a Fan, to be closed.
func NewFan() *Fan { return fans.Get().(*Fan) }

// Send sends p to s. Errors are as with SendPrepared: they end the session.
func (f *Fan) Send(s *Session, p *Prepared) {
	s.mu.Lock()
	conn, ok := s.conn.(webSocket)
	if s.state != stateOpen || !ok {
		s.mu.Unlock()
		_ = s.SendPrepared(p)
		return
	}
	s.mu.Unlock()
	s.sending(p.messages)
	frames := p.frames(s.revision, s.marks.has(markBare))
	for i := range f.shares {
		if f.shares[i].frames == frames {
			f.shares[i].conns = append(f.shares[i].conns, conn.Conn)
			return
		}
	}
	if n := len(f.shares); n < cap(f.shares) {
		f.shares = f.shares[:n+1] // with the list of before
	} else {
		f.shares = append(f.shares, share{})
	}
	last := &f.shares[len(f.shares)-1]
	last.frames, last.conns = frames, append(last.conns, conn.Conn)
}

// Close sends what was gathered. The Fan must not be used any more.
func (f *Fan) Close() {
	for i := range f.shares {
		s := &f.shares[i]
		ws.SendPreparedTo(s.conns, s.frames)
		clear(s.conns) // so that the pool keeps nothing alive
		s.frames, s.conns = nil, s.conns[:0]
	}
	f.shares = f.shares[:0]
	fans.Put(f)
}
