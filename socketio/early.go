package socketio

import (
	"sync"

	"github.com/chaussette/chaussette/socketio/engineio"
)

// early keeps what is sent to a socket between the moment when it is in its namespace and
// the one when its client has been told: CONNECT comes first, and nothing is missed that
// was sent after it.
type early struct {
	mu   sync.Mutex
	kept []*engineio.Prepared
	over bool
}

// keep is false when there is nothing to wait for any more.
func (e *early) keep(p *engineio.Prepared) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.over {
		e.kept = append(e.kept, p)
	}
	return !e.over
}

// release sends what was kept. Who keeps meanwhile waits, so that the order stays.
func (e *early) release(s *engineio.Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.kept {
		_ = s.SendPrepared(p)
	}
	e.kept, e.over = nil, true
}
