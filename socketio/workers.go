package socketio

import "sync"

// workers are goroutines that do the jobs of sockets. They are kept for a while, since a
// new goroutine has to grow its stack for every event; and there are as many as handlers
// run at once, so that one that blocks holds up no other socket.
type workers struct {
	mu     sync.Mutex // guards what follows
	idle   []chan *Socket
	closed bool
}

// maxIdle is how many goroutines are kept without work.
const maxIdle = 256

// run has a goroutine call s.run.
func (w *workers) run(s *Socket) {
	w.mu.Lock()
	if n := len(w.idle); n > 0 {
		next := w.idle[n-1] // the last to have worked: its memory is warm
		w.idle = w.idle[:n-1]
		w.mu.Unlock()
		next <- s
		return
	}
	w.mu.Unlock()
	go w.work(s)
}

func (w *workers) work(s *Socket) {
	s.run(false)
	next := make(chan *Socket, 1)
	for {
		w.mu.Lock()
		if w.closed || len(w.idle) >= maxIdle {
			w.mu.Unlock()
			return
		}
		w.idle = append(w.idle, next)
		w.mu.Unlock()
		s, more := <-next
		if !more {
			return
		}
		s.run(false)
	}
}

// close ends the goroutines that have nothing to do; the others end with their work.
func (w *workers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, next := range w.idle {
		close(next)
	}
	w.idle = nil
}
