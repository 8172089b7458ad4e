package engineio

import (
	"net/http"

	"github.com/chaussette/chaussette/ws"
)

// socket is a Session as its ws.Conn calls it.
type socket Session

func (c *socket) Open(*ws.Conn) {}

func (c *socket) Message(_ *ws.Conn, typ ws.MessageType, data []byte) {
	s := (*Session)(c)
	p, err := s.decodeFrame(typ, data)
	if err != nil {
		s.end(TransportError, err)
		return
	}
	_ = s.receive(p)
}

func (c *socket) Close(_ *ws.Conn, err *ws.CloseError) {
	reason := TransportClose
	switch err.Code {
	case ws.StatusProtocolError, ws.StatusMessageTooBig, ws.StatusInvalidPayload, ws.StatusTryAgainLater:
		reason = TransportError
	}
	(*Session)(c).end(reason, err)
}

// decodeFrame decodes what came on WebSocket.
func (s *Session) decodeFrame(typ ws.MessageType, data []byte) (packet, error) {
	if typ == ws.Binary {
		switch s.revision {
		case Revision09:
			return packet{}, errPacket
		case Revision3:
			if len(data) > 0 && data[0] == byte(PacketMessage-'0') {
				return packet{PacketMessage, Message{Data: data[1:], Binary: true}}, nil
			}
			// There are clients that leave out the type; they want it like that back.
			s.bare.Store(true)
		}
		return packet{PacketMessage, Message{Data: data, Binary: true}}, nil
	}
	if s.revision == Revision09 {
		return decode09(data)
	}
	if len(data) == 0 || data[0] < '0' || data[0] > '6' {
		return packet{}, errPacket
	}
	p := packet{PacketType(data[0]), Message{Data: data[1:]}}
	if s.revision == Revision3 {
		p.Data = undouble(p.Data) // the first versions do it here, too
	}
	return p, nil
}

// sendFrames sends messages, on conn, in one write.
func (s *Session) sendFrames(conn *ws.Conn, messages []Message) error {
	if len(messages) != 1 || messages[0].Uncompressed && conn.Deflate() != nil {
		return conn.SendPrepared(frames(messages, s.revision, s.bare.Load()))
	}
	typ, prefix := framing(messages[0].Binary, s.revision, s.bare.Load())
	if prefix < 0 {
		return conn.Send(typ, messages[0].Data)
	}
	b := buffers.Get().(*[]byte)
	*b = append(append((*b)[:0], byte(prefix)), messages[0].Data...)
	err := conn.Send(typ, *b)
	if cap(*b) <= 64<<10 {
		buffers.Put(b)
	}
	return err
}

func (s *Session) sendControl(conn *ws.Conn, p packet) {
	if s.revision == Revision09 {
		_ = conn.Send(ws.Text, wire09(p))
		return
	}
	b := append([]byte{byte(p.typ)}, p.Data...)
	_ = conn.Send(ws.Text, b)
}

// accept upgrades r, with header in the answer and greeting behind it. If it returns nil
// the client has been refused.
func (srv *Server) accept(w http.ResponseWriter, r *http.Request, header []Field, greeting *ws.Prepared) *ws.Conn {
	if ws.EngineFrom(r.Context()) == nil {
		r = r.WithContext(ws.WithEngine(r.Context(), srv.engine()))
	}
	options := srv.accepting
	if srv.options.Header != nil {
		header = append(header, srv.more(newHTTPExchange(w, r))...)
	}
	if len(header) > 0 || greeting != nil {
		all := make(http.Header, len(header))
		for _, f := range header {
			all.Add(f.Name, f.Value)
		}
		options = options.With(all, greeting)
	}
	c, err := ws.Accept(w, r, options)
	if err != nil {
		srv.refused(func() *http.Request { return r }, err)
		return nil
	}
	return c
}

func (srv *Server) acceptOptions() *ws.AcceptOptions {
	o := srv.options
	return &ws.AcceptOptions{Origins: o.Origins, MaxMessageSize: o.MaxPayload, MaxQueue: o.MaxQueue, Overflow: ws.OverflowClose, NoPing: true}
}

// openWebSocket is a handshake on WebSocket.
func (srv *Server) openWebSocket(w http.ResponseWriter, r *http.Request, revision Revision, value any) {
	if err := srv.room(); err != nil {
		x := newHTTPExchange(w, r)
		srv.ask(x, "").unavailable(srv, err)
		x.wait()
		return
	}
	s := srv.newSession(r, revision, value)
	opened := append([]byte{byte(PacketOpen)}, srv.open(s, false)...)
	conn := srv.accept(w, r, srv.cookie(s.id), ws.NewPrepared(ws.Text, opened))
	if conn == nil {
		return
	}
	s.conn = conn
	if err := srv.add(s); err != nil {
		srv.refused(func() *http.Request { return r }, err)
		_ = conn.Close(ws.StatusTryAgainLater, err.Error())
		return
	}
	s.mu.Lock()
	s.beginLocked()
	s.mu.Unlock()
	srv.handler.Open(s)
	conn.Serve((*socket)(s))
}

// probe is a WebSocket that was opened for a session on polling. It becomes the transport
// when its client has said 2probe and then 5.
type probe struct {
	session *Session
	conn    *ws.Conn
	until   int64
	probed  bool
}

func (p *probe) deadline() int64 {
	if p == nil {
		return 0
	}
	return p.until
}

// upgrade opens a WebSocket for s.
func (srv *Server) upgrade(w http.ResponseWriter, r *http.Request, s *Session) {
	s.mu.Lock()
	allowed := s.conn == nil && s.probe == nil && s.state == stateOpen && !srv.options.NoUpgrade && s.revision != Revision09
	s.mu.Unlock()
	if !allowed {
		srv.refuseHTTP(w, r, ErrBadRequest)
		return
	}
	conn := srv.accept(w, r, nil, nil)
	if conn == nil {
		return
	}
	p := &probe{session: s, conn: conn, until: srv.now() + int64(srv.options.UpgradeTimeout)}
	s.mu.Lock()
	if s.conn != nil || s.probe != nil || s.state != stateOpen {
		s.mu.Unlock()
		_ = conn.Close(ws.StatusPolicyViolation, "there is another one")
		return
	}
	s.probe = p
	s.armLocked()
	s.mu.Unlock()
	conn.Serve(p)
}

// upgrading tells whether the client is about to change over.
func (s *Session) upgrading() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probe != nil
}

// dropProbeLocked gives an upgrade up. The session goes on.
func (s *Session) dropProbeLocked() {
	if s.probe != nil {
		p := s.probe
		s.probe = nil
		_ = p.conn.Close(ws.StatusPolicyViolation, "not upgraded")
	}
}

func (p *probe) Open(*ws.Conn) {}

func (p *probe) Message(c *ws.Conn, typ ws.MessageType, data []byte) {
	s := p.session
	s.mu.Lock()
	if s.conn == p.conn {
		s.mu.Unlock()
		(*socket)(s).Message(c, typ, data)
		return
	}
	if s.probe != p {
		s.mu.Unlock()
		return
	}
	switch {
	case typ == ws.Text && string(data) == "2probe":
		p.probed = true
		_ = c.Send(ws.Text, []byte("3probe"))
		// The client waits for its poll to end before it goes on.
		last := s.polling.take()
		s.mu.Unlock()
		s.finish(last, PacketNoop)
	case typ == ws.Text && string(data) == "5" && p.probed:
		s.switchLocked(p)
	default:
		s.dropProbeLocked()
		s.mu.Unlock()
	}
}

// switchLocked makes p's connection the transport, and unlocks. What waited for a poll
// goes there, in order: nobody else can send meanwhile.
func (s *Session) switchLocked(p *probe) {
	old := s.polling
	s.polling, s.probe, s.conn = nil, nil, p.conn
	for _, q := range old.queue {
		if q.typ == PacketMessage {
			_ = s.sendFrames(p.conn, []Message{q.Message})
		} else {
			s.sendControl(p.conn, q)
		}
	}
	last := old.take()
	s.armLocked()
	s.mu.Unlock()
	s.finish(last, PacketNoop)
}

func (p *probe) Close(c *ws.Conn, err *ws.CloseError) {
	s := p.session
	s.mu.Lock()
	if s.conn == p.conn {
		s.mu.Unlock()
		(*socket)(s).Close(c, err)
		return
	}
	if s.probe == p {
		s.probe = nil
	}
	s.mu.Unlock()
}
