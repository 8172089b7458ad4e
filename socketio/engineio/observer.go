package engineio

// Observer is told what the sessions of a Server do: an admin UI is one. Its methods may be
// called from any goroutine, also with locks held: they do not block, and call no method of
// the Server or of a Session but ID, App and SetApp.
type Observer interface {
	// Opened says that a session has begun.
	Opened(s *Session)
	// Closed says that it has ended.
	Closed(s *Session, reason Reason)
	// Received says that a message of so many bytes has come, and Sent that some have been
	// sent: bytes are those of all of them, without what transports add.
	Received(s *Session, bytes int)
	Sent(s *Session, messages, bytes int)
	// Upgraded says that a session has changed over from polling.
	Upgraded(s *Session, to TransportName)
}

// Observe has o told of everything from now on. It is called once, before the server serves.
func (srv *Server) Observe(o Observer) {
	srv.observer = o
	srv.handler = observed{srv.handler, o}
}

// Observed tells whether there is an Observer.
func (srv *Server) Observed() bool { return srv.observer != nil }

// observed is a Handler with an Observer before it.
type observed struct {
	Handler
	observer Observer
}

// Open implements Handler.
func (h observed) Open(s *Session) {
	h.observer.Opened(s)
	h.Handler.Open(s)
}

// Message implements Handler.
func (h observed) Message(s *Session, m Message) {
	h.observer.Received(s, len(m.Data))
	h.Handler.Message(s, m)
}

// Close implements Handler.
func (h observed) Close(s *Session, reason Reason) {
	h.observer.Closed(s, reason)
	h.Handler.Close(s, reason)
}

// Deadline implements Deadliner.
func (h observed) Deadline(s *Session) {
	if d, ok := h.Handler.(Deadliner); ok {
		d.Deadline(s)
	}
}

// sending tells the Observer of messages.
func (s *Session) sending(messages []Message) {
	if o := s.server.observer; o != nil {
		size := 0
		for _, m := range messages {
			size += len(m.Data)
		}
		o.Sent(s, len(messages), size)
	}
}

// Polling is how many of the open sessions are on long-polling.
func (srv *Server) Polling() int {
	srv.mu.Lock()
	all := make([]*Session, 0, len(srv.sessions))
	for _, s := range srv.sessions {
		all = append(all, s)
	}
	srv.mu.Unlock()
	n := 0
	for _, s := range all {
		if s.Transport() == Polling {
			n++
		}
	}
	return n
}
