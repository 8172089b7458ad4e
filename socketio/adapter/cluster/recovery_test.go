package cluster

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter"
)

// slow is a Bus to workers that say only after some time that they are there.
type slow struct {
	self   Worker
	all    map[Worker]*Adapter
	usual  time.Duration // how long Settle takes
	latest time.Duration // how long it does with late set, after that

	mu    sync.Mutex // guards what follows
	known []Worker
}

func (s *slow) Close() error { return nil }

func (s *slow) Others() []Worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.known)
}

func (s *slow) know(workers ...Worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = workers
}

func (s *slow) Broadcast(m []byte) error {
	for _, w := range s.Others() {
		_ = s.Send(w, m)
	}
	return nil
}

func (s *slow) Send(to Worker, m []byte) error {
	return s.all[to].Receive(s.self, slices.Clone(m))
}

func (s *slow) Settle(ctx context.Context, late bool) {
	wait := s.usual
	if late {
		wait = s.latest
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
}

// A worker has just come, and a client with it whose session is on a worker that is busy: it
// tells of itself when the question has long been put to those that were faster.
func TestSessionOfTheLateOne(t *testing.T) {
	for _, c := range []struct {
		name   string
		copied bool // the one that is fast has a copy
		late   bool // the one that has the session is
		joins  time.Duration
		takes  time.Duration
		found  bool
	}{
		{"in time", false, true, 100 * time.Millisecond, 100 * time.Millisecond, true},
		{"late", false, true, time.Second, time.Second, true},
		{"nowhere", false, false, time.Second, 1500 * time.Millisecond, false},
		{"a copy", true, false, time.Second, 200 * time.Millisecond, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := map[Worker]*Adapter{}
				buses := map[Worker]*slow{}
				for _, w := range []Worker{"new", "fast", "late"} {
					buses[w] = &slow{self: w, all: all, usual: 200 * time.Millisecond, latest: 1300 * time.Millisecond}
					all[w] = New("/", adapter.NewRecovering(adapter.Recovery{}), buses[w], deaf{})
				}
				buses["new"].know("fast")
				buses["fast"].know("new")
				buses["late"].know("new")
				saved := adapter.SavedSession{PID: "pid", ID: "client", Rooms: []adapter.Room{"room"}}
				if c.late {
					all["late"].Save(saved)
				}
				if c.copied {
					all["fast"].Save(saved)
					for _, s := range all["fast"].History().Copies() {
						all["fast"].History().Keep(s)
					}
				}
				time.AfterFunc(c.joins, func() {
					buses["new"].know("fast", "late")
					all["new"].Joined("late")
				})
				begin := time.Now()
				found := all["new"].search(t.Context(), "pid")
				if (found != nil) != c.found {
					t.Errorf("found is %v", found)
				}
				if d := time.Since(begin).Round(100 * time.Millisecond); d != c.takes {
					t.Errorf("it took %v, want %v", d, c.takes)
				}
			})
		})
	}
}
