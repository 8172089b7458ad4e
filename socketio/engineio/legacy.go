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

// serve09 serves the path rest below 1/.
func (srv *Server) serve09(w http.ResponseWriter, r *http.Request, rest string) {
	if !slices.Contains(srv.options.Revisions, Revision09) {
		srv.refuse(w, r, ErrUnsupported)
		return
	}
	transport, id, _ := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	if id == "" && transport == "" {
		srv.handshake09(w, r)
		return
	}
	s := srv.Session(SID(id))
	if s == nil && srv.elsewhere(w, r, SID(id)) {
		return
	}
	if s == nil || s.revision != Revision09 {
		w.Header().Set("Connection", "close")
		srv.refuse(w, r, ErrUnknownSID)
		return
	}
	if transport == "" || r.URL.Query().Has("disconnect") {
		s.closedByClient()
		w.WriteHeader(http.StatusOK)
		return
	}
	switch transport {
	case "websocket":
		if !ws.IsUpgrade(r) {
			srv.refuse(w, r, ErrBadRequest)
			return
		}
		srv.openWebSocket09(w, r, s)
	case "xhr-polling", "jsonp-polling":
		switch r.Method {
		case http.MethodGet:
			srv.connect09(s)
			srv.servePoll(w, r, s)
		case http.MethodPost:
			srv.servePost(w, r, s)
		default:
			srv.refuse(w, r, ErrBadHandshakeMethod)
		}
	default:
		srv.refuse(w, r, ErrUnknownTransport)
	}
}

// handshake09 opens a session that has no transport yet: until then it is one on polling
// that nobody polls, and it ends like one that was left.
func (srv *Server) handshake09(w http.ResponseWriter, r *http.Request) {
	value, err := srv.allow(r)
	if err != nil {
		srv.refuse(w, r, &Error{ErrForbidden.Code, err.Error()})
		return
	}
	s := srv.newSession(r, Revision09, value)
	s.head = newHandshake(r)
	s.polling = &polling{}
	if err := srv.add(s); err != nil {
		srv.unavailable(w, r, err)
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
	for name, values := range srv.cookie(s.id) {
		w.Header()[name] = values
	}
	if j := r.URL.Query().Get("jsonp"); j != "" {
		w.Header().Set("Content-Type", "text/javascript; charset=UTF-8")
		_, _ = w.Write(jsonp09([]byte(answer), j))
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	_, _ = w.Write([]byte(answer))
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
		s.sendControl(conn, packet{typ: PacketOpen})
	}
	srv.handler.Open(s)
}

func (srv *Server) openWebSocket09(w http.ResponseWriter, r *http.Request, s *Session) {
	s.mu.Lock()
	taken := s.conn != nil || s.state != stateOpen
	s.mu.Unlock()
	if taken {
		srv.refuse(w, r, ErrBadRequest)
		return
	}
	conn := srv.accept(w, r, nil)
	if conn == nil {
		return
	}
	s.mu.Lock()
	if s.conn != nil || s.state != stateOpen {
		s.mu.Unlock()
		_ = conn.Close(ws.StatusPolicyViolation, "there is another one")
		return
	}
	s.polling.finish(PacketNoop)
	s.conn, s.polling = conn, nil
	s.mu.Unlock()
	srv.connect09(s)
	conn.Serve((*socket)(s))
}
