package engineio

import (
	"errors"
	"net/http"
	"strings"
	"sync"
)

// polling is the transport of a session that comes by HTTP requests. It is guarded by the
// session's mu.
type polling struct {
	queue   []packet // what waits for a poll
	size    int      // bytes in queue
	poll    *poll    // the GET that waits for what comes
	posting bool     // a POST is being read
}

// poll is a GET. Whoever takes it off the session answers it.
type poll struct {
	*asked
	until int64 // when it ends without anything to fetch, in the server's time; 0 never
}

func (p *polling) push(q packet) {
	p.queue = append(p.queue, q)
	p.size += len(q.Data) + 1
}

// waiting tells whether a poll is there for what comes.
func (p *polling) waiting() bool { return p.poll != nil }

func (p *polling) deadline() int64 {
	if p == nil || p.poll == nil {
		return 0
	}
	return p.poll.until
}

// take takes the poll that waits, or nil.
func (p *polling) take() *poll {
	g := p.poll
	p.poll = nil
	return g
}

// empty takes the queue.
func (p *polling) empty() []packet {
	queue := p.queue
	p.queue, p.size = nil, 0
	return queue
}

// finish answers g, which may be nil, with nothing but a packet of this type.
func (s *Session) finish(g *poll, typ PacketType) {
	if g != nil {
		s.server.answer(g.asked, s, []packet{{typ: typ}})
	}
}

// flushLocked answers the poll that waits, if there is something for it, and unlocks.
func (s *Session) flushLocked() {
	p := s.polling
	if p == nil || p.poll == nil || len(p.queue) == 0 {
		s.mu.Unlock()
		return
	}
	g, packets := p.take(), p.empty()
	closed := s.state == stateClosing
	if last := len(packets) - 1; closed && last > 0 && packets[last].typ == PacketClose {
		// The next poll gets that. Node's client puts off what it has read, but not a
		// close: it takes the events of the same answer for those of its next session,
		// and tells that to send them again.
		packets, closed = packets[:last], false
		p.push(packet{typ: PacketClose})
	}
	s.mu.Unlock()
	if closed {
		s.end(ForcedClose, nil) // that was the last of it
	}
	s.server.answer(g.asked, s, packets)
}

// servePoll has a GET of s answered, when there is something for it.
func (srv *Server) servePoll(a *asked, s *Session) {
	g := &poll{asked: a}
	if s.revision == Revision09 { // it has polls end now and then
		g.until = srv.now() + int64(srv.options.PingInterval)
	}
	a.OnGone(func() { s.pollGone(g) })
	s.mu.Lock()
	p := s.polling
	if p == nil || s.state == stateClosed {
		s.mu.Unlock()
		srv.refuse(a, ErrBadRequest)
		return
	}
	if p.poll != nil {
		s.mu.Unlock()
		s.end(TransportError, errors.New("two polls at once"))
		srv.refuse(a, ErrBadRequest)
		return
	}
	p.poll = g
	if s.probe != nil && s.probe.probed && len(p.queue) == 0 {
		p.push(packet{typ: PacketNoop}) // the client is about to change over
	}
	if g.until != 0 {
		s.armLocked()
	}
	s.flushLocked()
}

// pollGone ends s if its client has gone from g.
func (s *Session) pollGone(g *poll) {
	s.mu.Lock()
	gone := s.polling != nil && s.polling.poll == g
	if gone {
		s.polling.poll = nil
	}
	s.mu.Unlock()
	if gone {
		s.end(TransportClose, errors.New("the client has gone from its poll"))
	}
}

// Header fields of answers to polls.
var (
	fieldsText   = []Field{{"Content-Type", "text/plain; charset=UTF-8"}, {"Cache-Control", "no-store"}}
	fieldsBinary = []Field{{"Content-Type", "application/octet-stream"}, {"Cache-Control", "no-store"}}
	fieldsScript = []Field{{"Content-Type", "text/javascript; charset=UTF-8"}, {"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}}
)

// answer answers with packets.
func (srv *Server) answer(a *asked, s *Session, packets []packet, more ...Field) {
	fields := fieldsText
	buffer := buffers.Get().(*[]byte)
	body := (*buffer)[:0]
	switch s.revision {
	case Revision4:
		body = appendPayload4(body, packets)
	case Revision3:
		if hasBinary(packets) && !a.text && !a.jsonp {
			fields = fieldsBinary
			body = appendBinaryPayload3(body, packets)
		} else {
			body = appendPayload3(body, packets, s.marks.has(markBare))
		}
	default:
		body = appendPayload09(body, packets)
	}
	if a.jsonp {
		fields = fieldsScript
		if s.revision == Revision09 {
			body = jsonp09(body, a.number)
		} else {
			body = jsonp(body, a.number)
		}
	}
	if len(more) > 0 {
		fields = append(fields[:len(fields):len(fields)], more...)
	}
	srv.ok(a, fields, body, compressible(packets))
	if *buffer = body; cap(body) <= 64<<10 {
		buffers.Put(buffer)
	}
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// compressible tells whether packets may be gzipped: unless all their messages are to be left
// as they are, as Node's server has it. What is no message has
// no say.
func compressible(packets []packet) bool {
	for _, p := range packets {
		if p.typ == PacketMessage && !p.Uncompressed {
			return true
		}
	}
	return false
}

func hasBinary(packets []packet) bool {
	for _, p := range packets {
		if p.Binary {
			return true
		}
	}
	return false
}

// JSONP posts a form into a frame, in which some browsers show only HTML.
var fieldsPosted = []Field{{"Content-Type", "text/html"}, {"X-Content-Type-Options", "nosniff"}}

// servePost takes the packets of a POST.
func (srv *Server) servePost(a *asked, s *Session) {
	s.mu.Lock()
	p := s.polling
	if p != nil && s.state == stateClosing {
		s.mu.Unlock()
		a.respond(http.StatusOK, fieldsPosted, []byte("ok")) // the next poll tells the client
		return
	}
	if p == nil || s.state != stateOpen {
		s.mu.Unlock()
		srv.refuse(a, ErrBadRequest)
		return
	}
	if p.posting {
		s.mu.Unlock()
		s.end(TransportError, errors.New("two posts at once"))
		srv.refuse(a, ErrBadRequest)
		return
	}
	p.posting = true
	s.mu.Unlock()
	refused := srv.takePost(a, s)
	// Before the answer, after which the client may post again.
	s.mu.Lock()
	p.posting = false
	s.mu.Unlock()
	switch {
	case refused == errPostTooLarge:
		fields := append([]Field{{"Connection", "close"}}, plainText...)
		a.respond(http.StatusRequestEntityTooLarge, fields, []byte("payload too large\n"))
	case refused != nil:
		srv.refuse(a, ErrBadRequest)
	case s.revision == Revision09:
		a.respond(http.StatusOK, fieldsPosted, []byte("1"))
	default:
		a.respond(http.StatusOK, fieldsPosted, []byte("ok"))
	}
}

var errPostTooLarge = errors.New("payload too large")

// takePost handles the packets of a POST. An error says that the client is refused; the
// session has then been ended.
func (srv *Server) takePost(a *asked, s *Session) error {
	body, err := a.Body(srv.options.MaxPayload)
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			srv.options.Logger.Warn("engine.io payload too large", "sid", s.id, "limit", srv.options.MaxPayload, "remote", a.RemoteAddr())
			srv.refused(a.Request, tooLarge)
			s.end(TransportError, err)
			return errPostTooLarge
		}
		s.end(TransportClose, err)
		return err
	}
	err = s.receivePayload(a, body)
	if err != nil && !s.left() {
		s.end(TransportError, err)
		return err
	}
	if errors.Is(err, errPacket) || errors.Is(err, errPayload) || errors.Is(err, errDirection) {
		return err
	}
	return nil // what else there was, the client has left in peace
}

func (s *Session) left() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == stateClosed
}

// receivePayload handles the packets of body.
func (s *Session) receivePayload(a *asked, body []byte) error {
	contentType := a.Header("Content-Type")
	if strings.HasPrefix(contentType, "application/x-www-form-urlencoded") && a.jsonp {
		var err error
		if body, err = fromForm(body, s.revision); err != nil {
			return err
		}
	}
	if s.revision == Revision3 {
		each := func(p packet, bare bool) error {
			if bare {
				s.marks.set(markBare, true)
			}
			return s.receive(p)
		}
		if strings.HasPrefix(contentType, "application/octet-stream") {
			return decodeBinaryPayload3(body, each)
		}
		return decodePayload3(body, each)
	}
	if s.revision == Revision09 {
		return decodePayload09(body, s.receive)
	}
	return decodePayload4(body, s.receive)
}
