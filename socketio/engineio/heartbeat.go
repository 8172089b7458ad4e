package engineio

import (
	"time"

	"github.com/chaussette/chaussette/loop/wheel"
)

// Heartbeats find out that a client has gone. In revision 4 the server pings after
// PingInterval, and the client answers within PingTimeout. In revision 3 the client pings,
// and is heard of within PingInterval and PingTimeout. In 0.9 the server pings, and
// anything the client sends counts as an answer.

// slack is how late a ping may be, so that those of many sessions leave together.
const slack = 200 * time.Millisecond

// beginLocked starts the heartbeat.
func (s *Session) beginLocked() {
	o := s.server.options
	now := s.server.now()
	switch s.revision {
	case Revision4:
		s.beat, s.limit = now+int64(o.PingInterval), 0
	case Revision3:
		s.beat, s.limit = 0, now+int64(o.PingInterval+o.PingTimeout)
	default:
		s.beat, s.limit = now+int64(o.PingInterval), now+int64(o.PingInterval+o.PingTimeout)
	}
	s.armLocked()
}

// heardLocked notes that a packet came. The timer is left as it is where it finds out.
func (s *Session) heardLocked(typ PacketType) error {
	o := s.server.options
	switch s.revision {
	case Revision4:
		switch typ {
		case PacketPing:
			return errDirection
		case PacketPong:
			s.limit, s.beat = 0, s.server.now()+int64(o.PingInterval)
			if o.PingTimeout > o.PingInterval {
				s.armLocked() // the timer is set for the answer, which comes after the next ping
			}
		}
	case Revision3:
		if typ == PacketPong {
			return errDirection
		}
		s.limit = s.server.now() + int64(o.PingInterval+o.PingTimeout)
	default:
		s.limit = s.server.now() + int64(o.PingInterval+o.PingTimeout)
	}
	return nil
}

// overdueLocked tells whether the client should have been heard of before. A request asks,
// since the timer may be a little late.
func (s *Session) overdueLocked() bool {
	now := s.server.now()
	if s.revision == Revision4 && s.beat != 0 && s.state == stateOpen {
		return now >= s.beat+int64(s.server.options.PingTimeout)
	}
	return s.limit != 0 && now >= s.limit
}

// armLocked sets the timer to whatever is due first.
func (s *Session) armLocked() {
	due := s.beat
	for _, at := range [...]int64{s.limit, s.expires, s.probe.deadline(), s.polling.deadline()} {
		if at != 0 && (due == 0 || at < due) {
			due = at
		}
	}
	if due == 0 || s.state == stateClosed {
		s.server.wheel.Stop(&s.timer)
		return
	}
	d := time.Duration(due - s.server.now())
	s.server.wheel.Set(&s.timer, (*expirer)(s), d, min(slack, d/8))
}

// expirer keeps Expire out of Session's methods.
type expirer Session

// Expire does what is due.
func (e *expirer) Expire(*wheel.Timer) {
	s := (*Session)(e)
	s.mu.Lock()
	if s.state == stateClosed {
		s.mu.Unlock()
		return
	}
	now := s.server.now()
	if s.limit != 0 && now >= s.limit && s.state == stateOpen && s.marks.has(markBusy) {
		// The answer may wait behind the message that is being handled.
		s.limit = now + int64(s.server.options.PingTimeout)
	}
	if s.limit != 0 && now >= s.limit {
		s.mu.Unlock()
		s.end(PingTimeout, nil)
		return
	}
	ping := s.beat != 0 && now >= s.beat
	if ping {
		if s.revision == Revision4 {
			s.limit, s.beat = s.beat+int64(s.server.options.PingTimeout), 0
		} else {
			s.beat += int64(s.server.options.PingInterval)
		}
	}
	deadline := s.expires != 0 && now >= s.expires
	if deadline {
		s.expires = 0
	}
	if at := s.probe.deadline(); at != 0 && now >= at {
		s.dropProbeLocked()
	}
	var over *poll
	if at := s.polling.deadline(); at != 0 && now >= at {
		over = s.polling.take()
	}
	s.armLocked()
	s.mu.Unlock()
	s.finish(over, PacketNoop)
	if ping {
		s.control(packet{typ: PacketPing})
	}
	if d, ok := s.server.handler.(Deadliner); ok && deadline {
		d.Deadline(s)
	}
}
