package listener

import (
	"errors"
	"net"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// AcceptFD is Accept for an event loop: it returns the bare descriptor of the next
// connection, non-blocking and close-on-exec, with TCP_NODELAY and keep-alive set. The
// caller closes it. Whose it is the system writes to peer, where that is not nil. It waits as
// Accept does, so it belongs into a goroutine of its own.
// Only Linux has it.
func (l *Listener) AcceptFD(peer *unix.RawSockaddrAny) (int, error) {
	l.tuneOnce.Do(l.tuneAccepted)
	for {
		fd, err := l.socket.(rawSocket).acceptFD(peer)
		if err == nil {
			l.trouble.passed()
			l.tuneLate(fd)
			return fd, nil
		}
		if err := l.wait(err); err != nil {
			return -1, err
		}
	}
}

// rawSocket is a socket of this system.
type rawSocket interface {
	acceptFD(peer *unix.RawSockaddrAny) (int, error)
}

// PollFD returns a descriptor of the socket that does not block, for an event loop: when
// poll(2) says that it can be read, TryAcceptFD has a connection. The caller closes it, at
// the latest when Closed is. A socket that is shared cannot be waited for in this way, for
// the sake of the others (see the package's documentation): the error is
// errors.ErrUnsupported then. Only Linux has it.
func (l *Listener) PollFD() (int, error) {
	p, ok := l.socket.(*polled)
	if !ok {
		return -1, errors.ErrUnsupported
	}
	l.tuneOnce.Do(l.tuneAccepted)
	return p.takeOut()
}

// TryAcceptFD is AcceptFD for a descriptor from PollFD. It does not wait: the error is
// EAGAIN where there is no connection. What other errors mean AcceptFD finds out.
func (l *Listener) TryAcceptFD(pollFD int, peer *unix.RawSockaddrAny) (int, error) {
	size := uint32(unix.SizeofSockaddrAny)
	fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(pollFD), uintptr(unsafe.Pointer(peer)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		if errno == unix.EAGAIN {
			l.drained.Store(true)
		}
		return -1, errno
	}
	l.trouble.passed()
	if !l.drained.Load() {
		l.tuneLate(int(fd))
	}
	return int(fd), nil
}

// Closed is closed when Close begins.
func (l *Listener) Closed() <-chan struct{} { return l.closed }

// tuneLate tunes a connection that was in the queue before the socket was tuned.
func (l *Listener) tuneLate(fd int) {
	if l.addr.Network() != "tcp" {
		return
	}
	if on, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); err == nil && on == 0 {
		_ = tune(fd, l.alive)
	}
}

// tuneAccepted sets the options of accepted connections on the listening socket, from
// which the kernel copies them: five system calls for each connection are a sixth of what
// a short one costs.
func (l *Listener) tuneAccepted() {
	if l.addr.Network() != "tcp" {
		return
	}
	fd, err := l.socket.dup()
	if err != nil {
		return // it is closed
	}
	defer unix.Close(fd)
	_ = tune(fd, l.alive) // what fails is not set, and connections work without
}

// acceptFD accepts through a second descriptor, since a net.Listener lends its own for
// a moment only.
func (p *polled) acceptFD(peer *unix.RawSockaddrAny) (int, error) {
	if own := p.owned(); own != nil {
		return own.(*blocked).acceptFD(peer)
	}
	raw, err := p.rawFile()
	if err != nil {
		return -1, err
	}
	conn, err := raw.SyscallConn()
	if err != nil {
		return -1, net.ErrClosed
	}
	fd := -1
	waitErr := conn.Read(func(listening uintptr) bool {
		for {
			fd, err = accept4(int(listening), peer, unix.SOCK_NONBLOCK)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if waitErr != nil {
		return -1, net.ErrClosed // all that waiting can fail with
	}
	return fd, err
}

func (p *polled) rawFile() (*os.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, net.ErrClosed
	}
	if p.raw == nil {
		raw, err := p.inner.File()
		if err != nil {
			return nil, err
		}
		p.raw = raw
	}
	return p.raw, nil
}

// takeOut returns a new descriptor of the socket, and takes the socket out of the poller
// of the Go runtime: that would wake up for each connection that somebody else accepts.
func (p *polled) takeOut() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return -1, net.ErrClosed
	case p.own != nil:
		return p.own.dup()
	}
	conn, err := p.inner.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	controlErr := conn.Control(func(inner uintptr) { fd, err = dupCloexec(int(inner)) })
	if err := errors.Join(controlErr, err); err != nil {
		return -1, err
	}
	p.own = newBlocked(fd)
	if p.raw != nil {
		p.raw.Close()
	}
	p.inner.Close()
	return p.own.dup()
}

// accept4 accepts, and asks for the peer's address where peer is not nil. The new descriptor
// is close-on-exec.
func accept4(fd int, peer *unix.RawSockaddrAny, flags int) (int, error) {
	size := uint32(unix.SizeofSockaddrAny)
	conn, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(peer)), uintptr(unsafe.Pointer(&size)),
		uintptr(flags|unix.SOCK_CLOEXEC), 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(conn), nil
}

// errNoNet is what accept says where the network of a queued connection has gone.
const errNoNet = unix.ENONET

// The keep-alive of package net.
const (
	aliveIdle     = 15 * time.Second
	aliveInterval = 15 * time.Second
	aliveCount    = 9
)

// tune sets on a TCP connection what package net sets on its own. It fails only where
// the peer has left already, which the first read tells.
func tune(fd int, alive net.KeepAliveConfig) error {
	seconds := func(d, unset time.Duration) int {
		if d == 0 {
			d = unset
		}
		return int((d + time.Second - 1) / time.Second)
	}
	errs := []error{unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)}
	// A negative duration or count leaves the system's own, as in package net.
	if n := seconds(alive.Idle, aliveIdle); n > 0 {
		errs = append(errs, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, n))
	}
	if n := seconds(alive.Interval, aliveInterval); n > 0 {
		errs = append(errs, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, n))
	}
	count := alive.Count
	if count == 0 {
		count = aliveCount
	}
	if count > 0 {
		errs = append(errs, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, count))
	}
	// The last one, by which tuneLate knows a connection that has them all: it may have come
	// between two of them.
	errs = append(errs, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	return errors.Join(errs...)
}
