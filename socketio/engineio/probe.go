package engineio

// probe is a transport that was opened for a session on polling. It becomes the session's
// when its client has said 2probe and then 5.
type probe struct {
	session *Session
	conn    transport
	until   int64
	probed  bool
}

func (p *probe) deadline() int64 {
	if p == nil {
		return 0
	}
	return p.until
}

// upgradable tells whether s may change over from polling.
func (s *Session) upgradable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.upgradableLocked()
}

func (s *Session) upgradableLocked() bool {
	return s.conn == nil && s.probe == nil && s.state == stateOpen && !s.server.options.NoUpgrade && s.revision != Revision09
}

// newProbe has conn probed. It is nil where another one is, or was.
func (s *Session) newProbe(conn transport) *probe {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.upgradableLocked() {
		return nil
	}
	s.probe = &probe{session: s, conn: conn, until: s.server.now() + int64(s.server.options.UpgradeTimeout)}
	s.armLocked()
	return s.probe
}

// upgrading tells whether the client is about to change over.
func (s *Session) upgrading() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probe != nil
}

// carriedBy tells whether conn is the transport.
func (s *Session) carriedBy(conn transport) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn == conn
}

// dropProbeLocked gives an upgrade up. The session goes on.
func (s *Session) dropProbeLocked() {
	if s.probe != nil {
		p := s.probe
		s.probe = nil
		p.conn.giveUp("not upgraded")
	}
}

// take takes a packet that came as text, or nil for another one, while p is not the
// transport.
func (p *probe) take(text []byte) {
	s := p.session
	s.mu.Lock()
	if s.probe != p {
		s.mu.Unlock()
		return
	}
	switch {
	case string(text) == "2probe":
		p.probed = true
		p.conn.control(s, packet{PacketPong, Message{Data: []byte("probe")}})
		// The client waits for its poll to end before it goes on.
		last := s.polling.take()
		s.mu.Unlock()
		s.finish(last, PacketNoop)
	case string(text) == "5" && p.probed:
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
			_ = s.sendOn(p.conn, []Message{q.Message})
		} else {
			p.conn.control(s, q)
		}
	}
	last := old.take()
	s.armLocked()
	s.mu.Unlock()
	s.finish(last, PacketNoop)
	if o := s.server.observer; o != nil {
		o.Upgraded(s, p.conn.name())
	}
}

// gone is called when p's connection has ended. It is true where that was the transport,
// with which the session ends.
func (p *probe) gone() bool {
	s := p.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.probe == p {
		s.probe = nil
	}
	return s.conn == p.conn
}
