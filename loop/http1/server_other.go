//go:build !linux

package http1

import (
	"context"
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Supported says whether the system has what the package needs.
const Supported = false

// Listener is what a Server accepts from.
type Listener interface {
	AcceptFD(*unix.RawSockaddrAny) (int, error)
	Addr() net.Addr
}

// Peer is what a Server may be told of a connection's ends.
type Peer struct {
	Local   net.Addr
	Remote  string
	Context context.Context
}

// Exchange is a request and its response. There is none on this system.
type Exchange struct{ _ func() }

// Server serves connections. There is none on this system.
type Server struct{ _ func() }

var errSystem = errors.New("http1: this system has no epoll")

// New says that there is nothing to serve with.
func New(*Options) (*Server, error) { return nil, errSystem }

// Serve says the same.
func (*Server) Serve(Listener) error { return errSystem }

// Take says the same.
func (*Server) Take(int, []byte, *Peer) error { return errSystem }

// Connections is 0.
func (*Server) Connections() int { return 0 }

// Takeovers is 0.
func (*Server) Takeovers() uint64 { return 0 }

// StartDraining does nothing.
func (*Server) StartDraining() {}

// HandOver does nothing.
func (*Server) HandOver(func(fd int) bool) {}

// WaitIdle does nothing.
func (*Server) WaitIdle(context.Context) error { return nil }

// Drain does nothing.
func (*Server) Drain(context.Context, time.Duration) error { return nil }

// Close does nothing.
func (*Server) Close() error { return nil }
