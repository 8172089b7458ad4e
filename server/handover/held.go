package handover

import (
	"errors"
	"time"

	"github.com/chaussette/chaussette/listener/siblings"
)

// held is a connection with a request for a sibling that is away: it was stopped, say, and
// dropped. Its sessions live, so they are not said to be unknown at once.
type held struct {
	fd    int
	read  []byte
	to    siblings.Tag
	until time.Time
}

// Bounds of what is held. What is beyond is refused as if the sibling were dead.
const (
	holding   = 10 * time.Second // for how long; a client waits longer for a poll
	maxHeld   = 256              // connections
	heldBytes = 4 << 20          // that were read of all
)

// mayHold tells whether a connection for this sibling can be held.
func (e *Exchange) mayHold(to siblings.Tag) bool {
	if !e.siblings.Away(to) {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.roomLocked(0)
}

func (e *Exchange) roomLocked(bytes int) bool {
	return !e.isClosed() && len(e.held) < maxHeld && e.heldFor+bytes <= heldBytes
}

func (e *Exchange) isClosed() bool {
	select {
	case <-e.closed:
		return true
	default:
		return false
	}
}

// hold keeps a duplicate of fd, and read, until the sibling is back. It is false, with
// nothing done, where that is not to be expected, or too much is held already.
func (e *Exchange) hold(fd int, read []byte, to siblings.Tag) bool {
	if !e.siblings.Away(to) && !e.siblings.Has(to) {
		return false
	}
	own, err := duplicate(fd)
	if err != nil {
		return false
	}
	e.mu.Lock()
	if !e.roomLocked(len(read)) {
		e.mu.Unlock()
		closeFD(own)
		return false
	}
	e.held = append(e.held, held{own, read, to, time.Now().Add(holding)})
	e.heldFor += len(read)
	e.mu.Unlock()
	if e.siblings.Has(to) { // it came back in between
		e.release(to)
	}
	return true
}

// release gives a sibling that is back what was held for it.
func (e *Exchange) release(to siblings.Tag) {
	for _, h := range e.unhold(func(h held) bool { return h.to == to }) {
		if err := e.Give(h.fd, h.read, to); err != nil && (!errors.Is(err, siblings.ErrGone) || !e.hold(h.fd, h.read, to)) {
			answer(h.fd, gone)
		}
		closeFD(h.fd)
	}
}

// review answers those for whom nobody comes back: all, after Close.
func (e *Exchange) review() {
	now, closed := time.Now(), e.isClosed()
	for _, h := range e.unhold(func(h held) bool {
		return closed || now.After(h.until) || !e.siblings.Away(h.to) && !e.siblings.Has(h.to)
	}) {
		answer(h.fd, gone)
		closeFD(h.fd)
	}
}

// unhold takes those out of what is held, in their order. which is called with mu held.
func (e *Exchange) unhold(which func(held) bool) (out []held) {
	e.mu.Lock()
	defer e.mu.Unlock()
	kept := e.held[:0]
	for _, h := range e.held {
		if which(h) {
			out = append(out, h)
			e.heldFor -= len(h.read)
		} else {
			kept = append(kept, h)
		}
	}
	clear(e.held[len(kept):])
	e.held = kept
	return out
}
