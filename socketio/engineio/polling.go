package engineio

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// polling is the transport of a session that comes by HTTP requests. It is guarded by the
// session's mu.
type polling struct {
	queue   []packet // what waits for a poll
	size    int      // bytes in queue
	poll    *poll    // the GET that waits, or has been told but not fetched yet
	posting bool     // a POST is being read
	jsonp   bool
}

// poll is one GET.
type poll struct {
	ready    chan struct{} // closed when there is something to fetch
	signaled bool
	final    []packet // what it gets, in place of the queue
}

func (p *polling) push(q packet) {
	p.queue = append(p.queue, q)
	p.size += len(q.Data) + 1
}

// waiting tells whether a poll is there for what comes.
func (p *polling) waiting() bool { return p.poll != nil && !p.poll.signaled }

// wake ends the waiting of the poll, if there is one.
func (p *polling) wake() {
	if p.waiting() {
		p.poll.signaled = true
		close(p.poll.ready)
	}
}

// finish ends the poll, if there is one, with nothing but a packet of this type.
func (p *polling) finish(typ PacketType) {
	if p.poll != nil && p.poll.final == nil {
		p.poll.final = []packet{{typ: typ}}
		p.wake()
	}
}

// take returns what the poll gets.
func (p *polling) take(g *poll) []packet {
	if p.poll == g {
		p.poll = nil
	}
	if g.final != nil {
		return g.final
	}
	queue := p.queue
	p.queue, p.size = nil, 0
	return queue
}

// servePoll answers a GET of s, when there is something for it.
func (srv *Server) servePoll(w http.ResponseWriter, r *http.Request, s *Session) {
	s.mu.Lock()
	p := s.polling
	if p == nil || s.state == stateClosed {
		s.mu.Unlock()
		srv.refuse(w, r, ErrBadRequest)
		return
	}
	if p.poll != nil {
		s.mu.Unlock()
		s.end(TransportError, errors.New("two polls at once"))
		srv.refuse(w, r, ErrBadRequest)
		return
	}
	g := &poll{ready: make(chan struct{})}
	p.poll = g
	if s.probe != nil && s.probe.probed && len(p.queue) == 0 {
		p.push(packet{typ: PacketNoop}) // the client is about to change over
	}
	if len(p.queue) > 0 {
		p.wake()
	}
	s.mu.Unlock()

	var noop <-chan time.Time
	if s.revision == Revision09 { // it has polls end now and then
		t := time.NewTimer(srv.options.PingInterval)
		defer t.Stop()
		noop = t.C
	}
	select {
	case <-g.ready:
	case <-noop:
	case <-r.Context().Done():
		s.mu.Lock()
		gone := !g.signaled && p.poll == g
		s.mu.Unlock()
		if gone {
			s.end(TransportClose, r.Context().Err())
		}
		return
	}
	s.mu.Lock()
	packets := p.take(g)
	closed := s.state == stateClosing
	s.mu.Unlock()
	if len(packets) == 0 {
		packets = []packet{{typ: PacketNoop}}
	}
	if closed {
		s.end(ForcedClose, nil)
	}
	srv.answer(w, r, s, packets)
}

// answer writes packets as the body of a response.
func (srv *Server) answer(w http.ResponseWriter, r *http.Request, s *Session, packets []packet) {
	query := r.URL.Query()
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("Cache-Control", "no-store")
	var body []byte
	switch s.revision {
	case Revision4:
		body = appendPayload4(nil, packets)
	case Revision3:
		if hasBinary(packets) && !query.Has("b64") && !query.Has("j") {
			h.Set("Content-Type", "application/octet-stream")
			body = appendBinaryPayload3(nil, packets)
		} else {
			body = appendPayload3(nil, packets, s.bare.Load())
		}
	default:
		body = appendPayload09(nil, packets)
		if query.Has("i") {
			h.Set("Content-Type", "text/javascript; charset=UTF-8")
			body = jsonp09(body, query.Get("i"))
		}
	}
	if j := query.Get("j"); j != "" && s.revision != Revision09 {
		h.Set("Content-Type", "text/javascript; charset=UTF-8")
		h.Set("X-Content-Type-Options", "nosniff")
		body = jsonp(body, j)
	}
	srv.write(w, r, body)
}

func hasBinary(packets []packet) bool {
	for _, p := range packets {
		if p.Binary {
			return true
		}
	}
	return false
}

// servePost takes the packets of a POST.
func (srv *Server) servePost(w http.ResponseWriter, r *http.Request, s *Session) {
	s.mu.Lock()
	p := s.polling
	if p == nil || s.state != stateOpen {
		s.mu.Unlock()
		srv.refuse(w, r, ErrBadRequest)
		return
	}
	if p.posting {
		s.mu.Unlock()
		s.end(TransportError, errors.New("two posts at once"))
		srv.refuse(w, r, ErrBadRequest)
		return
	}
	p.posting = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		p.posting = false
		s.mu.Unlock()
	}()

	body, err := srv.readBody(w, r)
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			srv.options.Logger.Warn("engine.io payload too large", "sid", s.id, "limit", srv.options.MaxPayload, "remote", r.RemoteAddr)
			s.end(TransportError, err)
			w.Header().Set("Connection", "close")
			http.Error(w, "payload too large", http.StatusRequestEntityTooLarge)
			return
		}
		s.end(TransportClose, err)
		srv.refuse(w, r, ErrBadRequest)
		return
	}
	if err := s.receivePayload(r, body); err != nil && !s.left() {
		s.end(TransportError, err)
		srv.refuse(w, r, ErrBadRequest)
		return
	} else if errors.Is(err, errPacket) || errors.Is(err, errPayload) || errors.Is(err, errDirection) {
		srv.refuse(w, r, ErrBadRequest)
		return
	}
	answer := "ok"
	if s.revision == Revision09 {
		answer = "1"
	}
	// JSONP posts a form into a frame, in which some browsers show only HTML.
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(w, answer)
}

func (s *Session) left() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == stateClosed
}

func (srv *Server) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limited := http.MaxBytesReader(w, r.Body, srv.options.MaxPayload)
	if n := r.ContentLength; n > 0 && n <= srv.options.MaxPayload {
		body := make([]byte, n)
		_, err := io.ReadFull(limited, body)
		return body, err
	}
	return io.ReadAll(limited)
}

// receivePayload handles the packets of body.
func (s *Session) receivePayload(r *http.Request, body []byte) error {
	contentType := r.Header.Get("Content-Type")
	if strings.HasPrefix(contentType, "application/x-www-form-urlencoded") && isJSONP(r, s.revision) {
		var err error
		if body, err = fromForm(body, s.revision); err != nil {
			return err
		}
	}
	if s.revision == Revision3 {
		each := func(p packet, bare bool) error {
			if bare {
				s.bare.Store(true)
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
