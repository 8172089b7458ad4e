package socketio

import (
	"context"
	"sync"
)

// leaving counts the sockets that have left, and have events or handlers still. Unlike a
// sync.WaitGroup it may be added to while somebody waits.
type leaving struct {
	mu   sync.Mutex // guards what follows
	n    int
	none chan struct{} // closed when n gets 0; nil if nobody waits
}

func (l *leaving) add() {
	l.mu.Lock()
	l.n++
	l.mu.Unlock()
}

func (l *leaving) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n--; l.n == 0 && l.none != nil {
		close(l.none)
		l.none = nil
	}
}

// wait returns when there are none, or with ctx.Err().
func (l *leaving) wait(ctx context.Context) error {
	l.mu.Lock()
	if l.n == 0 {
		l.mu.Unlock()
		return nil
	}
	if l.none == nil {
		l.none = make(chan struct{})
	}
	none := l.none
	l.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
