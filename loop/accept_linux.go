package loop

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Listener is what Group.Accept accepts from: listener.Listener is one.
type Listener interface {
	// AcceptFD waits for a connection and returns it: non-blocking, close-on-exec. Whose it
	// is it may write to peer.
	AcceptFD(peer *unix.RawSockaddrAny) (int, error)
}

// PolledListener is a Listener that a loop may watch.
type PolledListener interface {
	Listener
	// PollFD returns a descriptor that can be read when TryAcceptFD has a connection. It
	// is closed by who asked for it. An error says that AcceptFD has to be waited in.
	PollFD() (int, error)
	// TryAcceptFD is AcceptFD without waiting: the error is EAGAIN where there is no
	// connection. Of others AcceptFD is asked.
	TryAcceptFD(pollFD int, peer *unix.RawSockaddrAny) (int, error)
	// Closed is closed when the Listener is.
	Closed() <-chan struct{}
}

// Accept has take called for each connection of l, until l is closed or fails, or take does;
// it returns the error. take owns the descriptor, also if it has an error, and must not block.
// peer is whose it is, valid until take returns; its family is 0 where that is not known.
//
// Where l is a PolledListener, a loop accepts: to hand a connection from one thread to
// another takes longer than to accept it.
func (g *Group) Accept(l Listener, take func(fd int, peer *unix.RawSockaddrAny) error) error {
	polled, ok := l.(PolledListener)
	var peer unix.RawSockaddrAny
	for {
		if ok {
			if err := g.watchListener(polled, take); err != nil {
				return err
			}
		}
		peer.Addr.Family = unix.AF_UNSPEC
		fd, err := l.AcceptFD(&peer)
		if err != nil {
			return err
		}
		if err := take(fd, &peer); err != nil {
			return err
		}
	}
}

// acceptor is a listening socket that a loop watches.
type acceptor struct {
	listener PolledListener
	take     func(fd int, peer *unix.RawSockaddrAny) error
	loop     *Loop
	ended    chan error // has room for one: why the loop accepts no more; nil for AcceptFD to find out

	mu sync.Mutex // guards what follows; held until take returns, so that nothing is taken after Accept
	fd int        // -1 when the loop watches no more

	peer unix.RawSockaddrAny // of the connection that is taken
}

// watchListener has a loop accept from l, until that fails. It returns an error that is
// final, or nil, where AcceptFD has to be asked.
func (g *Group) watchListener(l PolledListener, take func(fd int, peer *unix.RawSockaddrAny) error) error {
	fd, err := l.PollFD()
	if err != nil {
		return nil
	}
	a := &acceptor{listener: l, take: take, ended: make(chan error, 1), fd: fd}
	if err := g.addAcceptor(a); err != nil {
		unix.Close(fd)
		return err
	}
	if err := a.loop.control(unix.EPOLL_CTL_ADD, int32(fd), unix.EPOLLIN); err != nil {
		a.mu.Lock()
		a.fd = -1
		a.mu.Unlock()
		unix.Close(fd)
		g.dropAcceptor(a)
		return nil
	}
	defer g.dropAcceptor(a)
	select {
	case err := <-a.ended:
		return err
	case <-l.Closed():
		return nil
	case <-g.done:
		return ErrClosed
	}
}

// addAcceptor gives a a loop, which is not closed before left is done.
func (g *Group) addAcceptor(a *acceptor) error {
	g.acceptMu.Lock()
	defer g.acceptMu.Unlock()
	if g.closed.Load() {
		return ErrClosed
	}
	g.left.Add(1)
	a.loop = g.loops[int(g.next.Add(1))%len(g.loops)]
	all := append([]*acceptor{a}, a.loop.listeners()...)
	a.loop.acceptors.Store(&all)
	return nil
}

func (g *Group) dropAcceptor(a *acceptor) {
	a.mu.Lock()
	a.stopLocked()
	a.mu.Unlock()
	g.acceptMu.Lock()
	all := slices.DeleteFunc(slices.Clone(a.loop.listeners()), func(b *acceptor) bool { return a == b })
	a.loop.acceptors.Store(&all)
	g.acceptMu.Unlock()
	g.left.Done()
}

// stopLocked ends the watching.
func (a *acceptor) stopLocked() {
	if a.fd >= 0 {
		_ = a.loop.control(unix.EPOLL_CTL_DEL, int32(a.fd), 0)
		unix.Close(a.fd)
		a.fd = -1
	}
}

func (l *Loop) listeners() []*acceptor {
	if all := l.acceptors.Load(); all != nil {
		return *all
	}
	return nil
}

// acceptAtOnce is how many connections are accepted before others are looked after.
const acceptAtOnce = 64

// accept accepts, if fd is a listener's.
func (l *Loop) accept(fd int32) {
	for _, a := range l.listeners() {
		for range acceptAtOnce {
			if !a.acceptOne(fd) {
				break
			}
		}
	}
}

// acceptOne reports whether it has accepted one.
func (a *acceptor) acceptOne(listening int32) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fd != int(listening) {
		return false
	}
	a.peer.Addr.Family = unix.AF_UNSPEC
	fd, err := a.listener.TryAcceptFD(a.fd, &a.peer)
	switch {
	case err == unix.EAGAIN:
		return false
	case err == nil:
		if err = a.take(fd, &a.peer); err == nil {
			return true
		}
	default:
		err = nil
	}
	a.stopLocked()
	a.ended <- err // once: there is room
	return false
}
