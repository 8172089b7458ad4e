package listener

import (
	"errors"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// polled is a socket that the network poller of the Go runtime waits on. It is for
// sockets that this process alone accepts from, and for all on other systems than Linux.
type polled struct {
	inner bindable

	mu     sync.Mutex
	closed bool
	raw    *os.File // a second descriptor for acceptFD, which opens it
	own    socket   // in the place of inner, which is closed then (Listener.PollFD); or nil
}

func newPolled(inner bindable) *polled { return &polled{inner: inner} }

func (p *polled) accept() (net.Conn, error) {
	if own := p.owned(); own != nil {
		return own.accept()
	}
	conn, err := p.inner.Accept()
	if own := p.owned(); err != nil && own != nil {
		return own.accept()
	}
	return conn, err
}

func (p *polled) owned() socket {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.own
}

func (p *polled) dup() (int, error) {
	if own := p.owned(); own != nil {
		return own.dup()
	}
	conn, err := p.inner.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	// Not File: the descriptor that it leads to comes with a change to blocking mode,
	// which would change it for every descriptor of the socket.
	controlErr := conn.Control(func(inner uintptr) { fd, err = dupCloexec(int(inner)) })
	return fd, errors.Join(controlErr, err)
}

func (p *polled) close() error {
	p.mu.Lock()
	p.closed = true
	raw, own := p.raw, p.own
	p.mu.Unlock()
	if own != nil {
		return own.close()
	}
	if raw != nil {
		raw.Close()
	}
	return p.inner.Close()
}

// fileListener makes a polled socket of fd, which it owns from now on.
func fileListener(fd int) (*polled, error) {
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close() // FileListener has its own
	inner, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	return newPolled(inner.(bindable)), nil
}

// dupCloexec duplicates fd, to a number that is not that of a standard stream.
func dupCloexec(fd int) (int, error) {
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	return fd, os.NewSyscallError("fcntl", err)
}
