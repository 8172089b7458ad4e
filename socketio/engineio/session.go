package engineio

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaussette/chaussette/loop/wheel"
)

// Session is one client, through all the transports that it uses one after another. Its
// methods may be called from any goroutine, and none waits for the client.
//
// While nothing happens it has no goroutine and no timer of its own; on long-polling the
// waiting request has one where it came by net/http, and on WebTransport one reads.
type Session struct {
	server *Server
	id     SID
	app    any // of SetApp
	value  any // of Options.Allow

	receiving sync.Mutex // held while Handler.Message runs

	mu      sync.Mutex // guards what follows
	conn    transport  // nil while the transport is polling
	polling *polling   // nil from then on
	probe   *probe     // what may become the transport
	head    *handshake // nil where conn knows
	timer   wheel.Timer
	beat    int64 // when the next ping is due, in the server's time; 0 never
	limit   int64 // when the client counts as gone; 0 never
	expires int64 // of SetDeadline; 0 never

	began    int64 // Unix milliseconds
	revision Revision
	state    state
	secure   bool
	marks    marks
}

// marks are booleans that may be asked for without mu, in one word: an idle session is to
// be small.
type marks struct{ bits atomic.Uint32 }

const (
	markBusy uint32 = 1 << iota // Message runs
	markBare                    // the client sends binary without a type (revision 3)
)

func (m *marks) has(mark uint32) bool { return m.bits.Load()&mark != 0 }

func (m *marks) set(mark uint32, on bool) {
	if on {
		m.bits.Or(mark)
	} else {
		m.bits.And(^mark)
	}
}

// state of a Session: open until one side closes it. A polling session that the server
// closes is closing until the client has fetched what waits for it.
type state byte

const (
	stateOpen state = iota
	stateClosing
	stateClosed
)

// ID is the session's, the sid of the protocol.
func (s *Session) ID() SID { return s.id }

// Revision is that which the client speaks.
func (s *Session) Revision() Revision { return s.revision }

// Transport is what carries the session now.
func (s *Session) Transport() TransportName {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		return s.conn.name()
	}
	return Polling
}

// Value is what Options.Allow returned.
func (s *Session) Value() any { return s.value }

// SetApp keeps v for App: for the Handler, in Open.
func (s *Session) SetApp(v any) { s.app = v }

// App is what SetApp was given.
func (s *Session) App() any { return s.app }

// Began is when the handshake was.
func (s *Session) Began() time.Time { return time.UnixMilli(s.began) }

// Secure tells whether the handshake came over TLS.
func (s *Session) Secure() bool { return s.secure }

// Request is that of the handshake: method, URL, Host, RemoteAddr and headers. Each call
// makes it anew from a compact form.
func (s *Session) Request() *http.Request {
	s.mu.Lock()
	head, conn := s.head, s.conn
	s.mu.Unlock()
	if head == nil {
		return conn.request()
	}
	return head.request()
}

// RemoteAddr is the client's address, as http.Request has it.
func (s *Session) RemoteAddr() string {
	s.mu.Lock()
	head, conn := s.head, s.conn
	s.mu.Unlock()
	if conn != nil {
		return conn.remoteAddr()
	}
	return head.remote
}

// Done tells whether the session has ended.
func (s *Session) Done() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state != stateOpen
}

// Writable tells whether what is sent now leaves at once: nothing waits for the client,
// and it listens.
func (s *Session) Writable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stateOpen {
		return false
	}
	if s.conn != nil {
		return !s.conn.waits()
	}
	return s.polling.waiting()
}

// Send sends messages, with nothing of others between them. It does not wait: if too much
// is waiting already, the session is closed, with ErrQueueFull. After the end it is
// net.ErrClosed. The messages are not kept.
func (s *Session) Send(messages ...Message) error {
	s.mu.Lock()
	if s.state != stateOpen {
		s.mu.Unlock()
		return net.ErrClosed
	}
	if conn := s.conn; conn != nil {
		s.mu.Unlock()
		s.sending(messages)
		return s.sendOn(conn, messages)
	}
	s.sending(messages)
	for _, m := range messages {
		// The queue outlives this call.
		m.Data = append(make([]byte, 0, len(m.Data)), m.Data...)
		s.polling.push(packet{PacketMessage, m})
	}
	return s.boundLocked()
}

// SendPrepared is Send for what goes to many.
func (s *Session) SendPrepared(p *Prepared) error {
	s.mu.Lock()
	if s.state != stateOpen {
		s.mu.Unlock()
		return net.ErrClosed
	}
	if conn := s.conn; conn != nil {
		s.mu.Unlock()
		s.sending(p.messages)
		return conn.sendPrepared(s, p)
	}
	s.sending(p.messages)
	for _, m := range p.messages {
		s.polling.push(packet{PacketMessage, m})
	}
	return s.boundLocked()
}

// boundLocked is flushLocked for messages, too many of which end the session.
func (s *Session) boundLocked() error {
	p := s.polling
	if !p.waiting() && int64(p.size) > s.server.options.MaxQueue && len(p.queue) > 1 {
		s.mu.Unlock()
		s.end(TransportError, ErrQueueFull)
		return ErrQueueFull
	}
	s.flushLocked()
	return nil
}

// SetDeadline has Deadliner.Deadline called in d, once; 0 takes that back.
func (s *Session) SetDeadline(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expires = 0
	if d > 0 {
		s.expires = s.server.now() + int64(d)
	}
	s.armLocked()
}

// Close ends the session. What was sent before still reaches the client, if it fetches it
// in time. Handler.Close is called with ForcedClose before Close returns.
func (s *Session) Close() { s.closeFor(ForcedClose) }

// Fail ends the session because the client sent what cannot be understood.
func (s *Session) Fail(err error) { s.end(ParseError, err) }

// closeFor closes from our side, in peace.
func (s *Session) closeFor(reason Reason) {
	s.mu.Lock()
	if s.state != stateOpen {
		s.mu.Unlock()
		return
	}
	s.dropProbeLocked()
	if conn := s.conn; conn != nil {
		s.state = stateClosed
		s.mu.Unlock()
		s.server.forget(s)
		conn.close(reason)
	} else {
		s.state = stateClosing
		s.polling.push(packet{typ: PacketClose})
		s.beat, s.expires = 0, 0
		s.limit = s.server.now() + int64(lingering)
		s.armLocked()
		s.flushLocked()
	}
	s.server.handler.Close(s, reason)
}

// lingering is how long a closed polling session waits for the client to fetch the rest.
const lingering = 30 * time.Second

// end ends the session at once, whatever still waits. A second call does nothing.
func (s *Session) end(reason Reason, err error) {
	s.mu.Lock()
	was := s.state
	s.state = stateClosed
	if was == stateClosed {
		s.mu.Unlock()
		return
	}
	s.dropProbeLocked()
	conn := s.conn
	var last *poll
	if s.polling != nil {
		last = s.polling.take()
	}
	s.mu.Unlock()
	s.finish(last, PacketClose)
	s.server.forget(s)
	if conn != nil {
		conn.close(reason)
	}
	if err != nil {
		s.server.options.Logger.Debug("engine.io session ended", "sid", s.id, "reason", reason, "error", err)
	}
	if was == stateOpen {
		s.server.handler.Close(s, reason)
	}
}

// receive handles one packet from the client, of whatever transport. An error means that
// the session has been ended.
func (s *Session) receive(p packet) error {
	s.mu.Lock()
	if s.state != stateOpen {
		s.mu.Unlock()
		return net.ErrClosed
	}
	err := s.heardLocked(p.typ)
	s.mu.Unlock()
	if err != nil {
		s.end(TransportError, err)
		return err
	}
	switch p.typ {
	case PacketMessage:
		s.receiving.Lock()
		s.marks.set(markBusy, true)
		s.server.handler.Message(s, p.Message)
		s.marks.set(markBusy, false)
		s.receiving.Unlock()
	case PacketPing:
		s.control(packet{PacketPong, Message{Data: p.Data}})
	case PacketClose:
		s.closedByClient()
		return net.ErrClosed
	case PacketOpen, PacketUpgrade:
		s.end(TransportError, errPacket)
		return errPacket
	}
	return nil
}

// closedByClient ends a session in peace: a waiting poll gets a noop.
func (s *Session) closedByClient() {
	s.mu.Lock()
	var last *poll
	if s.polling != nil {
		last = s.polling.take()
	}
	s.mu.Unlock()
	s.finish(last, PacketNoop)
	s.end(TransportClose, nil)
}

// control sends a packet that is no message.
func (s *Session) control(p packet) {
	s.mu.Lock()
	if s.state != stateOpen {
		s.mu.Unlock()
		return
	}
	if conn := s.conn; conn != nil {
		s.mu.Unlock()
		conn.control(s, p)
		return
	}
	p.Data = append([]byte(nil), p.Data...)
	s.polling.push(p)
	s.flushLocked()
}
