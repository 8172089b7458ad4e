package engineio

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chaussette/chaussette/loop/wheel"
	"github.com/chaussette/chaussette/ws"
)

// Handler is what sessions are for. Its methods must not block: they may be called on an
// event loop. For one session the calls come in order, Open first and never two Messages
// at once; Close comes last, once, but may come while Message runs.
type Handler interface {
	// Open is called when the handshake is done. What it sends goes out with it.
	Open(s *Session)
	// Message is called for each message. Its data may be used again when Message has
	// returned: what is to be kept has to be copied. Text on WebSocket is valid UTF-8.
	Message(s *Session, m Message)
	// Close is called when the session has ended.
	Close(s *Session, reason Reason)
}

// Deadliner may be implemented by a Handler that uses Session.SetDeadline.
type Deadliner interface {
	Deadline(s *Session)
}

// Server is an http.Handler that keeps Sessions.
type Server struct {
	options   *Options
	handler   Handler
	accepting *ws.AcceptOptions
	start     time.Time
	wheel     *wheel.Wheel

	mu       sync.Mutex // guards what follows
	sessions map[SID]*Session
	fallback ws.Engine // made when there is no other
	turning  context.CancelFunc
	turned   chan struct{} // closed when the wheel has stopped
	closed   bool
}

// NewServer returns a server for h. It is closed by Close.
func NewServer(h Handler, options *Options) *Server {
	o := options.withDefaults()
	srv := &Server{options: o, handler: h, start: time.Now(), wheel: wheel.New(), sessions: map[SID]*Session{}}
	srv.accepting = srv.acceptOptions()
	return srv
}

// now is the server's time: nanoseconds since its start, never 0.
func (srv *Server) now() int64 { return int64(time.Since(srv.start)) + 1 }

func (srv *Server) serves(t TransportName) bool { return slices.Contains(srv.options.Transports, t) }

// Len is how many sessions are open.
func (srv *Server) Len() int {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return len(srv.sessions)
}

// Session returns one that is open, or nil.
func (srv *Server) Session(id SID) *Session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.sessions[id]
}

var (
	errClosed = errors.New("the server is shutting down")
	errFull   = errors.New("too many sessions")
)

// add makes s known.
func (srv *Server) add(s *Session) error {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.closed {
		return errClosed
	}
	if srv.options.MaxSessions > 0 && len(srv.sessions) >= srv.options.MaxSessions {
		return errFull
	}
	if srv.turning == nil {
		ctx, cancel := context.WithCancel(context.Background())
		srv.turning, srv.turned = cancel, make(chan struct{})
		go func() {
			defer close(srv.turned)
			srv.wheel.Run(ctx)
		}()
	}
	srv.sessions[s.id] = s
	return nil
}

func (srv *Server) forget(s *Session) {
	srv.mu.Lock()
	delete(srv.sessions, s.id)
	srv.mu.Unlock()
	srv.wheel.Stop(&s.timer)
}

// ServeHTTP serves what is under Options.Path.
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.Path, srv.options.Path)
	if !ok && r.URL.Path+"/" != srv.options.Path {
		http.NotFound(w, r)
		return
	}
	if srv.cors(w, r) {
		return
	}
	if rest == "1" || strings.HasPrefix(rest, "1/") {
		srv.serve09(w, r, strings.TrimPrefix(rest[1:], "/"))
		return
	}
	if rest != "" {
		http.NotFound(w, r)
		return
	}
	query := r.URL.Query()
	transport := TransportName(query.Get("transport"))
	if !srv.serves(transport) {
		srv.refuse(w, r, ErrUnknownTransport)
		return
	}
	if transport == WebSocket && !ws.IsUpgrade(r) {
		srv.options.Logger.Warn("engine.io: websocket asked for without an Upgrade header; a proxy may remove it", "remote", r.RemoteAddr)
		srv.refuse(w, r, ErrBadRequest)
		return
	}
	if id := query.Get("sid"); id != "" {
		srv.serveSession(w, r, transport, SID(id))
		return
	}
	srv.serveHandshake(w, r, transport, query.Get("EIO"), query.Has("j"))
}

// serveSession serves a request of a session that exists.
func (srv *Server) serveSession(w http.ResponseWriter, r *http.Request, transport TransportName, id SID) {
	s := srv.Session(id)
	if s == nil && srv.elsewhere(w, r, id) {
		return
	}
	if s == nil || s.revision == Revision09 {
		srv.refuse(w, r, ErrUnknownSID)
		return
	}
	s.mu.Lock()
	overdue := s.overdueLocked()
	s.mu.Unlock()
	if overdue {
		s.end(PingTimeout, nil)
		srv.refuse(w, r, ErrUnknownSID)
		return
	}
	switch {
	case transport == WebSocket:
		srv.upgrade(w, r, s)
	case r.Method == http.MethodGet:
		srv.servePoll(w, r, s)
	case r.Method == http.MethodPost:
		srv.servePost(w, r, s)
	default:
		srv.refuse(w, r, ErrBadRequest)
	}
}

// elsewhere has another worker serve a request of a session that is not here.
func (srv *Server) elsewhere(w http.ResponseWriter, r *http.Request, id SID) bool {
	return srv.options.Elsewhere != nil && srv.options.Elsewhere(w, r, id)
}

// serveHandshake opens a session.
func (srv *Server) serveHandshake(w http.ResponseWriter, r *http.Request, transport TransportName, eio string, jsonp bool) {
	if r.Method != http.MethodGet {
		srv.refuse(w, r, ErrBadHandshakeMethod)
		return
	}
	revision, ok := ParseRevision(eio)
	if !ok || revision == Revision09 || !slices.Contains(srv.options.Revisions, revision) {
		srv.refuse(w, r, ErrUnsupported)
		return
	}
	value, err := srv.allow(r)
	if err != nil {
		srv.refuse(w, r, &Error{ErrForbidden.Code, err.Error()})
		return
	}
	if transport == WebSocket {
		srv.openWebSocket(w, r, revision, value)
		return
	}
	s := srv.newSession(r, revision, value)
	s.head = newHandshake(r)
	s.polling = &polling{jsonp: jsonp}
	// The open packet comes first, whatever others send to the session from now on.
	s.polling.push(packet{PacketOpen, Message{Data: srv.open(s, true)}})
	if err := srv.add(s); err != nil {
		srv.unavailable(w, r, err)
		return
	}
	s.mu.Lock()
	s.beginLocked()
	s.mu.Unlock()
	srv.handler.Open(s)
	s.mu.Lock()
	packets := s.polling.take(&poll{})
	s.mu.Unlock()
	for name, values := range srv.cookie(s.id) {
		w.Header()[name] = values
	}
	srv.answer(w, r, s, packets)
}

func (srv *Server) allow(r *http.Request) (any, error) {
	if srv.options.Allow == nil {
		return nil, nil
	}
	return srv.options.Allow(r)
}

// refuse answers a request that cannot be served.
func (srv *Server) refuse(w http.ResponseWriter, r *http.Request, e *Error) {
	srv.options.Logger.Info("engine.io request refused", "code", e.Code, "reason", e.Message, "remote", r.RemoteAddr, "url", r.URL.Path)
	refuse(w, statusOf(e), e)
}

func (srv *Server) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	srv.options.Logger.Warn("engine.io request refused", "reason", err, "remote", r.RemoteAddr)
	w.Header().Set("Retry-After", "5")
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}

// Drain refuses new sessions and closes those there are, spread over the time until ctx
// ends if it has a deadline, so that clients do not come back all at once. They are told
// that the server restarts, and connect again.
func (srv *Server) Drain(ctx context.Context) error {
	srv.mu.Lock()
	srv.closed = true
	sessions := make([]*Session, 0, len(srv.sessions))
	for _, s := range srv.sessions {
		sessions = append(sessions, s)
	}
	srv.mu.Unlock()
	const step = 20 * time.Millisecond
	batch := len(sessions)
	if end, ok := ctx.Deadline(); ok && batch > 100 {
		// Half of the time: the rest is for the clients to take their leave.
		steps := int(time.Until(end) / 2 / step)
		batch = max(batch/max(steps, 1), 1)
	}
	for len(sessions) > 0 {
		n := min(batch, len(sessions))
		for _, s := range sessions[:n] {
			s.closeFor(ServerShutdown)
		}
		if sessions = sessions[n:]; len(sessions) == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(step):
		}
	}
	return nil
}

// Close ends all sessions at once and returns when nothing of the server runs any more.
func (srv *Server) Close() error {
	srv.mu.Lock()
	srv.closed = true
	sessions := make([]*Session, 0, len(srv.sessions))
	for _, s := range srv.sessions {
		sessions = append(sessions, s)
	}
	turning, turned, fallback := srv.turning, srv.turned, srv.fallback
	srv.turning, srv.fallback = nil, nil
	srv.mu.Unlock()
	for _, s := range sessions {
		s.closeFor(ServerShutdown)
		s.end(ServerShutdown, nil)
	}
	if turning != nil {
		turning()
		<-turned
	}
	if fallback != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := fallback.Close(ctx); err != nil {
			return fmt.Errorf("close websockets: %w", err)
		}
	}
	return nil
}

// NewID returns a random id that begins with the worker's tag, as session ids do.
func (srv *Server) NewID() string { return srv.options.Tag + randomID(16) }
