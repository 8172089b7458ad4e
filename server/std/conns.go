package std

import (
	"maps"
	"slices"
	"sync"
)

// conns are the connections that are open, hijacked ones as well.
type conns struct {
	mu   sync.Mutex
	open map[*conn]struct{}
	// emptied is told, without waiting, when the last one is removed.
	emptied chan struct{}
}

func newConns() *conns {
	return &conns{open: map[*conn]struct{}{}, emptied: make(chan struct{}, 1)}
}

// add adds c, unless there are limit already, with others that are counted elsewhere;
// 0 is no limit.
func (s *conns) add(c *conn, limit, others int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if limit > 0 && len(s.open)+others >= limit {
		return false
	}
	s.open[c] = struct{}{}
	return true
}

func (s *conns) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	if len(s.open) == 0 {
		select {
		case s.emptied <- struct{}{}:
		default: // it has been told already
		}
	}
}

func (s *conns) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

func (s *conns) all() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.open))
}
