package engineio

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/chaussette/chaussette/ws"
)

// Socket.IO 0.9, as gevent-socketio serves it:
//
//	1/                      handshake: sid:heartbeat timeout:close timeout:transports
//	1/TRANSPORT/SID         websocket, xhr-polling, jsonp-polling
//	1//SID, ?disconnect     the client leaves

// path09 takes the path below 1/ apart.
func path09(rest string) (transport string, id SID) {
	rest = strings.TrimPrefix(strings.TrimPrefix(rest, "1"), "/")
	transport, sid, _ := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	return transport, SID(sid)
}

// serve09 is ServeExchange for the path rest, which begins with 1.
func (srv *Server) serve09(x Exchange, rest string) bool {
	transport, id := path09(rest)
	parameter := ""
	switch transport {
	case "":
		parameter = "jsonp"
	case "jsonp-polling":
		parameter = "i"
	}
	a := srv.ask(x, parameter)
	if a.preflight() {
		return true
	}
	if !slices.Contains(srv.options.Revisions, Revision09) {
		srv.refuse(a, ErrUnsupported)
		return true
	}
	if id == "" && transport == "" {
		srv.handshake09(a)
		return true
	}
	s := srv.Session(id)
	if s == nil && srv.options.Elsewhere != nil {
		return false
	}
	if s == nil || s.revision != Revision09 {
		srv.refuse(a, ErrUnknownSID, Field{"Connection", "close"})
		return true
	}
	if transport == "" || a.leaves {
		s.closedByClient()
		a.respond(http.StatusOK, fieldsText, nil)
		return true
	}
	switch transport {
	case "websocket":
		if a.upgrades() {
			return false
		}
		srv.refuse(a, ErrBadRequest)
	case "xhr-polling", "jsonp-polling":
		switch a.Method() {
		case http.MethodGet:
			srv.connect09(s)
			srv.servePoll(a, s)
		case http.MethodPost:
			srv.servePost(a, s)
		default:
			srv.refuse(a, ErrBadHandshakeMethod)
		}
	default:
		srv.refuse(a, ErrUnknownTransport)
	}
	return true
}

// serveHTTP09 is serveHTTP for 0.9.
func (srv *Server) serveHTTP09(w http.ResponseWriter, r *http.Request, rest string) {
	transport, id := path09(rest)
	s := srv.Session(id)
	switch {
	case s == nil && srv.options.Elsewhere != nil && srv.options.Elsewhere(w, r, id):
	case s == nil || s.revision != Revision09:
		srv.refuseHTTP(w, r, ErrUnknownSID, Field{"Connection", "close"})
	case transport != "websocket":
		srv.refuseHTTP(w, r, ErrBadRequest)
	default:
		srv.openWebSocket09(w, r, s)
	}
}

// handshake09 opens a session that has no transport yet: until then it is one on polling
// that nobody polls, and it ends like one that was left.
func (srv *Server) handshake09(a *asked) {
	r := a.Request()
	value, refused := srv.allow(r)
	if refused != nil {
		srv.refuse(a, refused)
		return
	}
	s := srv.newSession(r, Revision09, value)
	s.head = newHandshake(r)
	s.polling = &polling{}
	if err := srv.add(s); err != nil {
		a.unavailable(srv, err)
		return
	}
	s.mu.Lock()
	s.beginLocked()
	s.beat = 0 // from connect09 on
	s.mu.Unlock()
	o := srv.options
	transports := "xhr-polling,jsonp-polling"
	if srv.serves(WebSocket) {
		transports = "websocket," + transports
	}
	if !srv.serves(Polling) {
		transports = "websocket"
	}
	// The client counts from one heartbeat to the next.
	timeout := int((o.PingInterval + o.PingTimeout) / time.Second)
	answer := fmt.Sprintf("%s:%d:%d:%s", s.id, max(timeout, 1), max(timeout, 1), transports)
	if a.jsonp {
		a.respond(http.StatusOK, append(srv.cookie(s.id), fieldsScript...), jsonp09([]byte(answer), a.number))
		return
	}
	a.respond(http.StatusOK, append(srv.cookie(s.id), fieldsText...), []byte(answer))
}

// connect09 begins the session, when its first transport is there.
func (srv *Server) connect09(s *Session) {
	s.mu.Lock()
	first := s.beat == 0 && s.state == stateOpen
	if first {
		s.beginLocked()
		if s.conn == nil {
			s.polling.push(packet{typ: PacketOpen})
		}
	}
	conn := s.conn
	s.mu.Unlock()
	if !first {
		return
	}
	if conn != nil {
		conn.control(s, packet{typ: PacketOpen})
	}
	srv.handler.Open(s)
}

func (srv *Server) openWebSocket09(w http.ResponseWriter, r *http.Request, s *Session) {
	s.mu.Lock()
	taken := s.conn != nil || s.state != stateOpen
	s.mu.Unlock()
	if taken {
		srv.refuseHTTP(w, r, ErrBadRequest)
		return
	}
	conn := srv.accept(w, r, nil, nil)
	if conn == nil {
		return
	}
	s.mu.Lock()
	if s.conn != nil || s.state != stateOpen {
		s.mu.Unlock()
		_ = conn.Close(ws.StatusPolicyViolation, "there is another one")
		return
	}
	last := s.polling.take()
	s.conn, s.polling = webSocket{conn}, nil
	s.mu.Unlock()
	s.finish(last, PacketNoop)
	srv.connect09(s)
	conn.Serve((*socket)(s))
}
