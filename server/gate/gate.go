// Package gate bounds how many requests an app runs at once.
package gate

import (
	"errors"
	"net/http"
	"sync/atomic"
)

// Gate lets a number of requests through at once; the others wait their turn, first
// come first served, and a number of those at the most. It is safe for concurrent use.
type Gate struct {
	slots   chan struct{}
	queue   int64
	waiting atomic.Int64
}

// New returns a Gate for running requests at once, with queue more that wait.
func New(running, queue int) *Gate {
	return &Gate{slots: make(chan struct{}, running), queue: int64(queue)}
}

// ErrFull says that the queue is full.
var ErrFull = errors.New("as many requests as allowed are running and waiting")

// Enter waits for a turn until done is closed, which is for [http.Request] the Done of
// its context. Each Enter that returned nil is followed by one Leave.
func (g *Gate) Enter(done <-chan struct{}) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.queue {
		return ErrFull
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-done:
		return http.ErrAbortHandler
	}
}

// Leave ends a turn.
func (g *Gate) Leave() { <-g.slots }

// Handler returns next behind the gate. A request that finds the queue full is answered
// with 503 and refused is told; one whose client leaves while it waits is dropped.
func (g *Gate) Handler(next http.Handler, refused func(*http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch err := g.Enter(r.Context().Done()); {
		case errors.Is(err, ErrFull):
			refused(r)
			w.Header().Set("Retry-After", "1")
			http.Error(w, "The server is busy: too many requests are waiting.", http.StatusServiceUnavailable)
			return
		case err != nil:
			panic(err) // nobody is there to be answered
		}
		defer g.Leave()
		next.ServeHTTP(w, r)
	})
}
