package python

import (
	"errors"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/loop"
)

// UseLoops has the child's pipe served by event loops, those that the app's connections are
// on: then one wait finds requests and answers, and nobody is woken for the others. The loops
// are closed after the app. It is called before Start.
func (a *App) UseLoops(g *loop.Group) {
	a.newLink = func(c *child, fd int) (link, error) { return newLoopLink(c, fd, g) }
}

// loopLink is a link on an event loop: the Owner of its connection.
type loopLink struct {
	child *child
	io    loop.Conn
	ended chan error
}

// newLoopLink makes a link of fd, which it owns, also after an error.
func newLoopLink(c *child, fd int, g *loop.Group) (link, error) {
	l := &loopLink{child: c, ended: make(chan error, 1)}
	err := unix.SetNonblock(fd, true)
	if err == nil {
		err = g.Add(&l.io, l, fd)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return l, nil
}

func (l *loopLink) start() {
	l.io.Lock()
	l.io.QuickLocked() // a Sink does not block
	l.io.StartLocked()
	l.io.Unlock()
}

func (l *loopLink) wait() error { return <-l.ended }

// Data implements loop.Owner.
func (l *loopLink) Data(b []byte) bool {
	if err := l.child.receive(b); err != nil {
		l.io.Lock()
		l.io.CutLocked(err)
		l.io.Unlock()
	}
	return true
}

// Ended implements loop.Owner.
func (l *loopLink) Ended(err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) {
		err = nil
	}
	l.ended <- err
}

// SentLocked implements loop.Owner.
func (l *loopLink) SentLocked() {}

// Expire implements loop.Owner.
func (l *loopLink) Expire() {
	l.io.Lock()
	l.io.CutLocked(nil)
	l.io.Unlock()
}

func (l *loopLink) write(b []byte) {
	l.io.Lock()
	_ = l.io.WriteLocked(b, nil, false)
	l.io.Unlock()
}

func (l *loopLink) endBy(limit time.Time) { l.io.SetDeadline(max(time.Until(limit), time.Millisecond)) }

func (l *loopLink) close() {
	l.io.Lock()
	defer l.io.Unlock()
	if fd := l.io.DetachLocked(); fd >= 0 {
		_ = unix.Close(fd)
	}
}
