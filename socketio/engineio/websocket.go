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
			s.marks.set(markBare, true)
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

// webSocket is a ws.Conn as a transport.
type webSocket struct{ *ws.Conn }

func (webSocket) name() TransportName      { return WebSocket }
func (c webSocket) waits() bool            { return c.Queued() > 0 }
func (c webSocket) remoteAddr() string     { return c.RemoteAddr() }
func (c webSocket) request() *http.Request { return c.Request() }
func (c webSocket) giveUp(why string)      { _ = c.Close(ws.StatusPolicyViolation, why) }

func (c webSocket) close(reason Reason) {
	code := ws.StatusNormal
	switch reason {
	case ServerShutdown:
		code = ws.StatusServiceRestart
	case ParseError:
		code = ws.StatusUnsupportedData
	}
	_ = c.Close(code, string(reason))
}

func (c webSocket) sendPrepared(s *Session, p *Prepared) error {
	return c.SendPrepared(p.frames(s.revision, s.marks.has(markBare)))
}

// send sends messages in one write.
func (c webSocket) send(s *Session, messages []Message) error {
	if len(messages) != 1 || messages[0].Uncompressed && c.Deflate() != nil {
		return c.SendPrepared(frames(messages, s.revision, s.marks.has(markBare)))
	}
	typ, prefix := framing(messages[0].Binary, s.revision, s.marks.has(markBare))
	if prefix < 0 {
		return c.Send(typ, messages[0].Data)
	}
	b := buffers.Get().(*[]byte)
	*b = append(append((*b)[:0], byte(prefix)), messages[0].Data...)
	err := c.Send(typ, *b)
	if cap(*b) <= 64<<10 {
		buffers.Put(b)
	}
	return err
}

func (c webSocket) control(s *Session, p packet) {
	if s.revision == Revision09 {
		_ = c.Send(ws.Text, wire09(p))
		return
	}
	b := append([]byte{byte(p.typ)}, p.Data...)
	_ = c.Send(ws.Text, b)
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
	s.conn = webSocket{conn}
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

// upgrade opens a WebSocket for s.
func (srv *Server) upgrade(w http.ResponseWriter, r *http.Request, s *Session) {
	if !s.upgradable() {
		srv.refuseHTTP(w, r, ErrBadRequest)
		return
	}
	conn := srv.accept(w, r, nil, nil)
	if conn == nil {
		return
	}
	p := s.newProbe(webSocket{conn})
	if p == nil {
		_ = conn.Close(ws.StatusPolicyViolation, "there is another one")
		return
	}
	conn.Serve((*webSocketProbe)(p))
}

// webSocketProbe is a probe as its ws.Conn calls it.
type webSocketProbe probe

func (c *webSocketProbe) Open(*ws.Conn) {}

func (c *webSocketProbe) Message(conn *ws.Conn, typ ws.MessageType, data []byte) {
	p := (*probe)(c)
	if p.session.carriedBy(p.conn) {
		(*socket)(p.session).Message(conn, typ, data)
		return
	}
	if typ != ws.Text {
		data = nil
	}
	p.take(data)
}

func (c *webSocketProbe) Close(conn *ws.Conn, err *ws.CloseError) {
	if p := (*probe)(c); p.gone() {
		(*socket)(p.session).Close(conn, err)
	}
}
