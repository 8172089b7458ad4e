package listener

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Open opens the sockets of addr, as the package's documentation lists them. Sockets
// that an earlier image of this process has passed on with Held.Exec are taken up
// instead of being opened again.
//
// A malformed address is a *net.AddrError. An inherited file descriptor that cannot
// be served on is an *FDError. A Unix socket that somebody answers on is ErrAnswered;
// a file in its place that is no socket is ErrNotSocket. All else is the *net.OpError
// of the system call that failed. Nothing stays open with an error.
func Open(addr string, o *Options) (Listeners, error) {
	a, err := parseAddress(addr)
	if err != nil {
		return nil, err
	}
	options := o.withDefaults()
	if ls, err := takeHeld(addr, options); err != nil || len(ls) > 0 {
		return ls, err
	}
	switch a.family {
	case familyUnix:
		return openUnix(addr, a.path, options)
	case familyFD:
		l, err := openFD(a.fd, "", addr, options)
		if err != nil {
			return nil, err
		}
		return Listeners{l}, nil
	case familySystemd:
		return openSystemd(addr, a.name, options)
	}
	if a.host == "localhost" {
		return openLocalhost(addr, a.port, options)
	}
	l, err := openTCP(addr, "tcp", a.host, a.port, options)
	if err != nil {
		return nil, err
	}
	return Listeners{l}, nil
}

// openTCP binds one socket. Without a host, that is one of IPv6 which takes IPv4 too,
// where the machine has IPv6.
func openTCP(asked, network, host, port string, o Options) (*Listener, error) {
	inner, err := config().Listen(context.Background(), network, net.JoinHostPort(host, port))
	if err != nil {
		return nil, err
	}
	addr := inner.Addr().(*net.TCPAddr)
	name := net.JoinHostPort(host, strconv.Itoa(addr.Port))
	if host == "" {
		name = addr.String()
	}
	return bound(inner.(*net.TCPListener), asked, name, o)
}

// openLocalhost binds 127.0.0.1 and ::1, or the one that the machine has. The name is
// not looked up: hosts files know it in one family only, or in both, as they please.
func openLocalhost(asked, port string, o Options) (Listeners, error) {
	// Port 0 is whatever is free, which it has to be in both families.
	const tries = 16
	for try := 1; ; try++ {
		v4, err4 := openTCP(asked, "tcp4", "127.0.0.1", port, o)
		if err4 != nil && !missing(err4) {
			return nil, err4
		}
		second := port
		if v4 != nil {
			second = strconv.Itoa(v4.addr.(*net.TCPAddr).Port)
		}
		v6, err6 := openTCP(asked, "tcp6", "::1", second, o)
		switch {
		case err6 == nil && v4 == nil:
			return named(Listeners{v6}), nil
		case err6 == nil:
			return named(Listeners{v4, v6}), nil
		case v4 == nil:
			return nil, err4
		case missing(err6):
			return named(Listeners{v4}), nil
		}
		v4.Close()
		if second == port || try == tries || !errors.Is(err6, syscall.EADDRINUSE) {
			return nil, err6
		}
	}
}

// missing reports that the machine lacks the address family, or its loopback address.
func missing(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) ||
		errors.Is(err, syscall.EPROTONOSUPPORT)
}

func named(ls Listeners) Listeners {
	for _, l := range ls {
		l.name = net.JoinHostPort("localhost", strconv.Itoa(l.addr.(*net.TCPAddr).Port))
	}
	return ls
}

// config is how sockets are bound: plain TCP, and not the Multipath TCP that package
// net would choose. A blocked accept cannot be interrupted on that, which would matter as
// soon as this process passes its socket to another.
func config() *net.ListenConfig {
	c := new(net.ListenConfig)
	c.SetMultipathTCP(false)
	return c
}

// bindable is what package net listens with.
type bindable interface {
	net.Listener
	syscall.Conn
	File() (*os.File, error)
}

// bound wraps a socket that this process has just bound.
func bound(inner bindable, asked, name string, o Options) (*Listener, error) {
	fail := func(err error) (*Listener, error) {
		inner.Close()
		return nil, &net.OpError{Op: "listen", Net: inner.Addr().Network(), Addr: inner.Addr(), Err: err}
	}
	raw, err := inner.SyscallConn()
	if err != nil {
		return fail(err)
	}
	var l *Listener
	controlErr := raw.Control(func(fd uintptr) {
		// Package net listens with the kernel's maximum; a second listen sets the
		// backlog anew.
		if err = unix.Listen(int(fd), o.Backlog); err != nil {
			return
		}
		l, err = newListener(newPolled(inner), int(fd), asked, name, false, o)
	})
	if err := errors.Join(controlErr, err); err != nil {
		return fail(err)
	}
	return l, nil
}
