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
	// returned: what is to be kept has to be copied. Text on WebSocket and on
	// WebTransport is valid UTF-8.
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
	observer  Observer // or nil
	accepting *ws.AcceptOptions
	start     time.Time
	wheel     *wheel.Wheel
	// terms of open packets: without upgrades, and with those of revisions 3 and 4
	terms, terms3, terms4 string

	mu       sync.Mutex // guards what follows
	sessions map[SID]*Session
	fallback ws.Engine // made when there is no other
	turning  context.CancelFunc
	turned   chan struct{} // closed when the wheel has stopped
	closed   bool
	empty    chan struct{} // closed when there is no session and no stream; nil if nobody waits
	streams  map[*webTransport]struct{}
	serving  sync.WaitGroup // those who serve them; not joined once ended
	ended    bool
}

// NewServer returns a server for h. It is closed by Close.
func NewServer(h Handler, options *Options) *Server {
	o := options.withDefaults()
	srv := &Server{options: o, handler: h, start: time.Now(), wheel: wheel.New(), sessions: map[SID]*Session{}}
	srv.accepting = srv.acceptOptions()
	srv.terms = openTerms(o)
	srv.terms3, srv.terms4 = openTerms(o, srv.upgrades(Revision3)...), openTerms(o, srv.upgrades(Revision4)...)
	return srv
}

// Options are those of the server, with the default in the place of each zero. They must
// not be changed.
func (srv *Server) Options() *Options { return srv.options }

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

// room tells whether there is room for one more session.
func (srv *Server) room() error {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.roomLocked()
}

func (srv *Server) roomLocked() error {
	if srv.closed {
		return errClosed
	}
	if srv.options.MaxSessions > 0 && len(srv.sessions) >= srv.options.MaxSessions {
		return errFull
	}
	return nil
}

// add makes s known.
func (srv *Server) add(s *Session) error {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if err := srv.roomLocked(); err != nil {
		return err
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
	srv.emptyLocked()
	srv.mu.Unlock()
	srv.wheel.Stop(&s.timer)
}

// emptyLocked tells those who wait for it that nobody is there any more.
func (srv *Server) emptyLocked() {
	if len(srv.sessions) == 0 && len(srv.streams) == 0 && srv.empty != nil {
		close(srv.empty)
		srv.empty = nil
	}
}

// ServeHTTP serves what is under Options.Path.
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, ok := srv.below(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	if srv.options.Newcomer != nil && begins(r.Method, rest, func() string { return r.URL.Query().Get("sid") }) && srv.options.Newcomer(w, r) {
		return
	}
	x := newHTTPExchange(w, r)
	if rest != "" {
		if srv.serve09(x, rest) {
			x.wait()
		} else {
			srv.serveHTTP09(w, r, rest)
		}
		return
	}
	a := srv.ask(x, "j")
	if srv.serve(a) {
		x.wait()
	} else {
		srv.serveHTTP(w, r, a)
	}
}

// begins tells whether a request, below the server's path, asks for a new session.
func begins(method, rest string, sid func() string) bool {
	if method != http.MethodGet {
		return false
	}
	if rest == "" {
		return sid() == ""
	}
	transport, id := path09(rest)
	return transport == "" && id == ""
}

// below cuts the server's path off, and is not ok for a path where nothing is: what is
// left is empty, or begins with the 1 of the revision 0.9.
func (srv *Server) below(path string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, srv.options.Path)
	if !ok {
		return "", len(path) == len(srv.options.Path)-1 && strings.HasPrefix(srv.options.Path, path)
	}
	return rest, rest == "" || rest == "1" || strings.HasPrefix(rest, "1/")
}

// ServeExchange serves x without waiting for anything: a poll is answered when there is
// something to fetch. It is false, and x not touched, for what has to come to ServeHTTP: a
// WebSocket, a session that Options.Elsewhere may know, a new one that another worker is to
// have, and what is not under Options.Path.
func (srv *Server) ServeExchange(x Exchange) bool {
	rest, ok := srv.below(x.Path())
	if !ok {
		return false
	}
	crowded := srv.options.Newcomer != nil && srv.options.Crowded != nil && srv.options.Crowded()
	if rest != "" {
		if crowded && begins(x.Method(), rest, nil) {
			return false
		}
		return srv.serve09(x, rest)
	}
	a := srv.ask(x, "j")
	if crowded && begins(x.Method(), rest, func() string { return string(a.sid) }) {
		return false
	}
	return srv.serve(a)
}

func (srv *Server) serve(a *asked) bool {
	if a.preflight() {
		return true
	}
	if a.transport == WebSocket && a.upgrades() && srv.serves(WebSocket) {
		return false
	}
	switch {
	case !srv.serves(a.transport), a.transport == WebTransport: // which never comes by HTTP/1 or 2
		srv.refuse(a, ErrUnknownTransport)
	case a.transport == WebSocket:
		srv.options.Logger.Warn("engine.io: websocket asked for without an Upgrade header; a proxy may remove it", "remote", a.RemoteAddr())
		srv.refuse(a, ErrBadRequest)
	case a.sid == "":
		srv.serveHandshake(a)
	default:
		s := srv.Session(a.sid)
		if s == nil && srv.options.Elsewhere != nil {
			return false
		}
		srv.serveSession(a, s)
	}
	return true
}

// serveSession serves a request of s, which may be nil.
func (srv *Server) serveSession(a *asked, s *Session) {
	if s == nil && a.Method() == http.MethodPost && srv.draining() {
		// It crossed the end of its session, of which its poll has told the client.
		a.respond(http.StatusOK, fieldsPosted, []byte("ok"))
		return
	}
	if s = s.timely(); s == nil {
		srv.refuse(a, ErrUnknownSID)
		return
	}
	switch a.Method() {
	case http.MethodGet:
		srv.servePoll(a, s)
	case http.MethodPost:
		srv.servePost(a, s)
	default:
		srv.refuse(a, ErrBadRequest)
	}
}

// timely returns s unless it is nil, of 0.9, or has been silent for too long, which ends
// it.
func (s *Session) timely() *Session {
	if s == nil || s.revision == Revision09 {
		return nil
	}
	s.mu.Lock()
	overdue := s.overdueLocked()
	s.mu.Unlock()
	if overdue {
		s.end(PingTimeout, nil)
		return nil
	}
	return s
}

// serveHTTP serves what an Exchange cannot: WebSockets, and sessions of other workers.
func (srv *Server) serveHTTP(w http.ResponseWriter, r *http.Request, a *asked) {
	s := srv.Session(a.sid)
	if a.sid != "" && s == nil && srv.options.Elsewhere != nil && srv.options.Elsewhere(w, r, a.sid) {
		return
	}
	switch {
	case a.transport != WebSocket:
		srv.refuseHTTP(w, r, ErrUnknownSID)
	case a.sid == "":
		srv.handshakeWebSocket(w, r, a)
	default:
		if s = s.timely(); s == nil {
			srv.refuseHTTP(w, r, ErrUnknownSID)
			return
		}
		srv.upgrade(w, r, s)
	}
}

// refuseHTTP is refuse for a request that was to become a WebSocket.
func (srv *Server) refuseHTTP(w http.ResponseWriter, r *http.Request, e *Error, more ...Field) {
	x := newHTTPExchange(w, r)
	srv.refuse(srv.ask(x, ""), e, more...)
	x.wait()
}

// admit checks what is the same for a handshake on either transport.
func (srv *Server) admit(a *asked, r *http.Request) (revision Revision, value any, refused *Error) {
	if r.Method != http.MethodGet {
		return 0, nil, ErrBadHandshakeMethod
	}
	revision, ok := ParseRevision(a.eio)
	if !ok || revision == Revision09 || !slices.Contains(srv.options.Revisions, revision) {
		return 0, nil, ErrUnsupported
	}
	value, refused = srv.allow(r)
	return revision, value, refused
}

// serveHandshake opens a session on polling.
func (srv *Server) serveHandshake(a *asked) {
	r := a.Request()
	revision, value, refused := srv.admit(a, r)
	if refused != nil {
		srv.refuse(a, refused)
		return
	}
	s := srv.newSession(r, revision, value)
	s.head = newHandshake(r)
	s.polling = &polling{}
	// The open packet comes first, whatever others send to the session from now on.
	s.polling.push(packet{PacketOpen, Message{Data: srv.open(s, true)}})
	if err := srv.add(s); err != nil {
		a.unavailable(srv, err)
		return
	}
	s.mu.Lock()
	s.beginLocked()
	s.mu.Unlock()
	srv.handler.Open(s)
	s.mu.Lock()
	packets := s.polling.empty()
	s.mu.Unlock()
	srv.answer(a, s, packets, srv.cookie(s.id)...)
}

// handshakeWebSocket opens a session on WebSocket.
func (srv *Server) handshakeWebSocket(w http.ResponseWriter, r *http.Request, a *asked) {
	revision, value, refused := srv.admit(a, r)
	if refused != nil {
		srv.refuseHTTP(w, r, refused)
		return
	}
	srv.openWebSocket(w, r, revision, value)
}

// allow asks Options.Allow.
func (srv *Server) allow(r *http.Request) (value any, refused *Error) {
	if srv.options.Allow == nil {
		return nil, nil
	}
	value, err := srv.options.Allow(r)
	if err != nil {
		return nil, &Error{ErrForbidden.Code, err.Error()}
	}
	return value, nil
}

// Drain refuses new sessions and closes those there are, spread over the time until ctx
// ends if it has a deadline, so that clients do not come back all at once. They are told
// that the server restarts, and connect again. It returns when those on polling and on
// WebTransport have got that, or have had time for it.
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
	start := time.Now()
	for len(sessions) > 0 {
		n := min(batch, len(sessions))
		for _, s := range sessions[:n] {
			if s.upgrading() && time.Since(start) < parting {
				// The client fetches nothing meanwhile, and would not hear of it.
				sessions = append(sessions, s)
				continue
			}
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
	srv.mu.Lock()
	srv.cutStreamsLocked(false)
	if len(srv.sessions) == 0 && len(srv.streams) == 0 {
		srv.mu.Unlock()
		return nil
	}
	if srv.empty == nil {
		srv.empty = make(chan struct{})
	}
	empty := srv.empty
	srv.mu.Unlock()
	late := time.NewTimer(parting)
	defer late.Stop()
	select {
	case <-empty:
	case <-late.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// parting is how long a drain waits for clients on polling to fetch the end of their
// sessions. They have a poll waiting, but for the time between one and the next. Those on
// WebTransport have half of it (see lastWords).
const parting = 2 * time.Second

func (srv *Server) draining() bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.closed
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
	srv.mu.Lock()
	srv.ended = true
	srv.cutStreamsLocked(true)
	srv.mu.Unlock()
	srv.serving.Wait()
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
