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
}

func newPolled(inner bindable) *polled { return &polled{inner: inner} }

func (p *polled) accept() (net.Conn, error) { return p.inner.Accept() }

func (p *polled) dup() (int, error) {
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
	raw := p.raw
	p.mu.Unlock()
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
