package server

import (
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
)

// signals are the process's, while a worker runs.
type signals struct {
	received chan os.Signal
	pipe     chan os.Signal // SIGPIPE, which nobody reads: see takeSignals
}

func takeSignals() *signals {
	s := &signals{received: make(chan os.Signal, 16), pipe: make(chan os.Signal, 1)}
	signal.Notify(s.received, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1)
	// A manager that dies leaves a broken pipe behind as standard error. Unless SIGPIPE is
	// taken, the first line of the log would end the worker (package os/signal).
	signal.Notify(s.pipe, syscall.SIGPIPE)
	return s
}

func (s *signals) release() {
	signal.Stop(s.received)
	signal.Stop(s.pipe)
}

func isStop(s os.Signal) bool { return s == syscall.SIGTERM || s == syscall.SIGINT }

// stopCame reports whether a signal to stop has come that nobody has read yet.
func (s *signals) stopCame() bool {
	for {
		select {
		case sig := <-s.received:
			if isStop(sig) {
				return true
			}
		default:
			return false
		}
	}
}

// onStop calls stop at each signal to stop, until the function that it returns is
// called, which reports whether one came. Other signals are kept for whoever reads
// received next.
func (s *signals) onStop(stop func()) (end func() (stopped bool)) {
	done, result := make(chan struct{}), make(chan bool)
	go func() {
		var kept []os.Signal
		stopped := false
		for {
			select {
			case sig := <-s.received:
				if isStop(sig) {
					stopped = true
					stop()
				} else if !slices.Contains(kept, sig) {
					kept = append(kept, sig)
				}
			case <-done:
				for _, sig := range kept {
					select {
					case s.received <- sig:
					default: // it is full: of the same
					}
				}
				result <- stopped
				return
			}
		}
	}()
	return sync.OnceValue(func() bool {
		close(done)
		return <-result
	})
}
