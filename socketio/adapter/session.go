package adapter

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Session is a SavedSession with what a History knows of it.
type Session struct {
	SavedSession
	At time.Time // when its client left
	// Home is whose own events the session could get, and Floor up to where those are not
	// kept any more.
	Home  Origin
	Floor uint64
	// Since is the offset when the client came, Last that of the last event that was sent
	// to it, if any, and Left that of the last event before it had left.
	Since, Last, Left string
	// Private are events that workers had kept to themselves.
	Private []*Entry
	// Copied says that other workers may have it as well, or a newer one.
	Copied bool
}

// Newer is whichever of two is; nil is none.
func Newer(a, b *Session) *Session {
	if a == nil || b != nil && b.At.After(a.At) {
		return b
	}
	return a
}

// position is what the client has that comes back with an offset.
func (s *Session) position(offset string) (Vector, bool) {
	v, ok := ParseVector(offset)
	if s.Last == "" || offset == s.Last {
		// It has all that was for it.
		left, known := ParseVector(s.Left)
		if !known {
			return nil, false
		}
		if !ok {
			v = Vector{}
		}
		n, has := left[s.Home]
		if has {
			n = max(n, v[s.Home])
		}
		for o := range v {
			if strings.HasSuffix(string(o), "-") {
				delete(v, o)
			}
		}
		v.raise(left, true)
		if has {
			v[s.Home] = n
		}
		return v, true
	}
	since, known := ParseVector(s.Since)
	if !ok || !known {
		return nil, false
	}
	// Who has an event of the last worker has all that was sent before: what others had
	// kept for it, which that worker's offsets say nothing of. Else its offset may be of
	// another session, long ago.
	_, here := v[s.Home]
	v.raise(since, here)
	return v, true
}

// carried is what a client at v has not got of what workers had kept to themselves.
func (s *Session) carried(v Vector) []*Entry {
	var missed []*Entry
	for _, e := range s.Private {
		if n, known := v[e.Origin]; known && e.Seq > n {
			missed = append(missed, e)
		}
	}
	return missed
}

// Save implements Adapter.
func (a *Memory) Save(saved SavedSession) {
	h := a.log
	if h == nil {
		return
	}
	s := &Session{SavedSession: saved, At: time.Now(), Home: h.self.private(), Left: *h.offset.Load()}
	h.mu.Lock()
	if socket := h.here[s.PID]; socket != nil && socket.ID() == s.ID {
		r := socket.Membership().recall
		s.Since, s.Left, s.Private = r.since, r.left, r.carry
		if last := r.last.Load(); last != nil {
			s.Last = *last
		}
		delete(h.here, s.PID)
	}
	h.mu.Unlock()
	h.Keep(s)
}

// Keep keeps s, which was saved here or comes from a worker that leaves, unless somebody
// waits for it.
func (h *History) Keep(s *Session) {
	h.mu.Lock()
	wanted := h.wanted[s.PID]
	delete(h.wanted, s.PID)
	if len(wanted) == 0 {
		h.saved[s.PID] = s
		h.order = append(h.order, s.PID)
		h.pruneSessionsLocked()
	}
	h.mu.Unlock()
	for _, f := range wanted {
		f(s)
		s = nil // it is given once
	}
}

func (h *History) pruneSessionsLocked() {
	old := time.Now().Add(-h.limits.MaxDisconnection)
	for len(h.order) > 0 {
		s, known := h.saved[h.order[0]]
		if known && !s.At.Before(old) && len(h.saved) <= h.limits.MaxSessions {
			return
		}
		delete(h.saved, h.order[0])
		h.order = h.order[1:]
	}
}

// Forget implements Adapter.
func (a *Memory) Forget(pid string) {
	h := a.log
	if h == nil {
		return
	}
	h.mu.Lock()
	delete(h.here, pid)
	wanted := h.wanted[pid]
	delete(h.wanted, pid)
	h.mu.Unlock()
	for _, f := range wanted {
		f(nil)
	}
}

// Drop says that a session was given back by another worker.
func (h *History) Drop(pid string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.saved, pid)
}

// Withdraw calls f with a session, which is forgotten, or with nil: at once, or when the
// end of a socket that has it is noticed, which it brings about. f must not block.
func (h *History) Withdraw(pid string, f func(*Session)) {
	h.mu.Lock()
	h.pruneSessionsLocked()
	s, socket := h.saved[pid], h.here[pid]
	delete(h.saved, pid)
	if s == nil && socket != nil {
		h.wanted[pid] = append(h.wanted[pid], f)
		h.mu.Unlock()
		socket.(Returner).Moved()
		return
	}
	h.mu.Unlock()
	f(s)
}

// WithdrawWithin is Withdraw for who can wait, until ctx ends.
func (h *History) WithdrawWithin(ctx context.Context, pid string) *Session {
	found := make(chan *Session, 1)
	var settled atomic.Bool // by what comes first
	h.Withdraw(pid, func(s *Session) {
		switch {
		case settled.CompareAndSwap(false, true):
			found <- s
		case s != nil:
			h.Keep(s)
		}
	})
	select {
	case s := <-found:
		return s
	case <-ctx.Done():
		if settled.CompareAndSwap(false, true) {
			return nil
		}
		return <-found
	}
}

// Pack adds to s, which another worker will have, what this one has kept to itself and
// its client has not got.
func (h *History) Pack(s *Session) {
	if s.Home != h.self.private() {
		return // it has it
	}
	h.fanning.Lock()
	defer h.fanning.Unlock()
	l := h.origins[s.Home]
	since, _ := ParseVector(s.Since)
	own := append([]Room{Room(s.ID)}, s.Rooms...)
	s.Floor = l.floor
	s.Private = slices.Clone(s.Private)
	for _, e := range l.after(since[s.Home]) {
		if e.wanted(own) {
			s.Private = append(s.Private, e)
		}
	}
}

// Copies returns copies of all that is saved.
func (h *History) Copies() []*Session {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pruneSessionsLocked()
	all := make([]*Session, 0, len(h.saved))
	for _, s := range h.saved {
		one := *s
		one.Copied = true
		all = append(all, &one)
	}
	return all
}

// Restore implements Adapter.
func (a *Memory) Restore(ctx context.Context, pid, offset string, back func(SavedSession) Socket) (bool, error) {
	if a.log == nil {
		return false, nil
	}
	s := a.log.WithdrawWithin(ctx, pid)
	if s == nil {
		return false, nil
	}
	return a.log.Restore(ctx, s, offset, back)
}
