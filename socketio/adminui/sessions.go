package adminui

import (
	"sync"
	"time"
)

// sessions are the logins that are good still, by the digests of their ids.
type sessions struct {
	mu   sync.Mutex // guards what follows
	ends map[string]time.Time
}

// maxSessions bounds them. Each is a login with the right password; past it the one that
// ends first is forgotten.
const maxSessions = 1000

// end is when a session ends; the zero for one that is unknown or has ended.
func (s *sessions) end(digest string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := s.ends[digest]
	if !end.After(time.Now()) {
		delete(s.ends, digest)
		return time.Time{}
	}
	return end
}

func (s *sessions) add(digest string, end time.Time) {
	now := time.Now()
	if !end.After(now) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends == nil {
		s.ends = map[string]time.Time{}
	}
	s.ends[digest] = end
	if len(s.ends) <= maxSessions {
		return
	}
	first := digest
	for d, e := range s.ends {
		if e.Before(s.ends[first]) {
			first = d
		}
	}
	delete(s.ends, first)
}
