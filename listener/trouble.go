package listener

import (
	"errors"
	"log/slog"
	"sync"
	"syscall"
	"time"
)

const (
	firstDelay = 5 * time.Millisecond
	// lastDelay is also how long accepting has to go well before trouble is over. Below
	// that, a server that stands at its limit would log two lines for each connection
	// that ends.
	lastDelay = time.Second
)

// trouble is how accepting fails for the moment: how long to wait, and what to log.
type trouble struct {
	log *slog.Logger

	mu    sync.Mutex
	cause syscall.Errno // 0 while all is well
	since time.Time     // of the first failure
	last  time.Time     // of the last one
	delay time.Duration // that the last one waited
}

// happened says how long to wait after err, and whether it passes at all.
func (t *trouble) happened(err error) (delay time.Duration, passes bool) {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return 0, false
	}
	if gone(errno) {
		return 0, true
	}
	if !short(errno) {
		return 0, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.cause == 0 {
		t.since = now
	}
	if errno != t.cause {
		t.cause = errno
		t.log.Error("cannot accept connections, waiting", "error", errno)
	}
	t.last = now
	t.delay = min(max(2*t.delay, firstDelay), lastDelay)
	return t.delay, true
}

// passed takes note of an accepted connection.
func (t *trouble) passed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cause == 0 {
		return
	}
	t.delay = 0
	now := time.Now()
	if now.Sub(t.last) < lastDelay {
		return
	}
	t.log.Info("accepting connections again", "after", now.Sub(t.since).Round(time.Millisecond))
	t.cause = 0
}

// gone reports an error of the connection rather than of the socket: on Linux, accept
// returns what has happened to a connection while it queued, and that connection is no
// more (accept(2), "Error handling").
func gone(errno syscall.Errno) bool {
	switch errno {
	case syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EPROTO, syscall.ENETDOWN, syscall.ENOPROTOOPT,
		syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ETIMEDOUT, syscall.EINTR:
		return true
	}
	return errno == errNoNet
}

// short reports an error of this process or machine that can pass: something has run
// short, or a firewall says no.
func short(errno syscall.Errno) bool {
	switch errno {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EPERM, syscall.EACCES:
		return true
	}
	return false
}
