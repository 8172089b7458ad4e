package handover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/chaussette/chaussette/listener/siblings"
)

// ErrNobody: no sibling takes connections that are offered.
var ErrNobody = errors.New("no sibling takes connections")

// Give hands a connection over to the sibling that has to serve it: the descriptor, and
// what was read of it that is not served yet. Without an error the sibling has a
// descriptor of its own, and the caller closes fd, which it takes out of its epoll before:
// that would go on to watch. With siblings.ErrGone, where there is no such sibling, and
// siblings.ErrTooLarge nothing has happened. read is not kept.
func (e *Exchange) Give(fd int, read []byte, to siblings.Tag) error {
	if err := e.send(fd, read, forSession, to); err != nil {
		return err
	}
	e.given.Add(1)
	return nil
}

// Offer hands a connection over to the sibling with the fewest. It is Give otherwise; the
// error is ErrNobody where there is no sibling that takes it.
func (e *Exchange) Offer(fd int, read []byte) error {
	if err := e.offer(fd, read, offered); err != nil {
		return err
	}
	e.offered.Add(1)
	return nil
}

// errAsked: a sibling has given the connection with a request, which is this worker's to
// serve. To offer that would have it come back, and go again, until one of the two ends.
var errAsked = errors.New("the connection has a request for this worker")

// OfferConn is Offer for a connection of package net, of which nothing is read.
func (e *Exchange) OfferConn(nc net.Conn) error {
	if c, ok := nc.(*resumed); ok && len(c.read) > 0 && !c.offered {
		return errAsked
	}
	socket, read, err := bare(nc, nil)
	if err != nil {
		return err
	}
	return control(socket, func(fd int) error { return e.Offer(fd, read) })
}

func (e *Exchange) offer(fd int, read []byte, what byte) error {
	for {
		to, ok := e.fewest()
		if !ok {
			return ErrNobody
		}
		err := e.send(fd, read, what, to)
		if !errors.Is(err, siblings.ErrGone) {
			return err
		}
		e.forget(to)
	}
}

func (e *Exchange) send(fd int, read []byte, what byte, to siblings.Tag) error {
	message := appendConnection(make([]byte, 0, 2+len(read)), what, "")
	return e.siblings.HandOver(to, siblings.Connections, append(message, read...), fd)
}

// control calls f with the descriptor of a socket.
func control(s syscall.Conn, f func(fd int) error) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = f(int(fd)) })
	return errors.Join(err, failed)
}

var errTwice = errors.New("a proxied request is not proxied again")

// bare unwraps nc. To what was read it appends what a wrapper has read and keeps.
func bare(nc net.Conn, read []byte) (syscall.Conn, []byte, error) {
	for {
		switch c := nc.(type) {
		case *resumed:
			if c.remote != nil {
				return nil, nil, errTwice
			}
			read = append(read, c.read...)
			nc = c.Conn
		case *net.TCPConn:
			return c, read, nil
		case *net.UnixConn:
			return c, read, nil
		case interface{ NetConn() net.Conn }:
			inner := c.NetConn()
			if _, wraps := inner.(interface{ NetConn() net.Conn }); !wraps {
				if _, bare := inner.(syscall.Conn); !bare {
					// It still has something that was read, and says so by hiding the rest.
					early := make([]byte, 4096)
					n, err := inner.Read(early)
					if err != nil {
						return nil, nil, err
					}
					read = append(read, early[:n]...)
					continue
				}
			}
			nc = inner
		default:
			return nil, nil, fmt.Errorf("a %T cannot be handed over", nc)
		}
	}
}

type stayKey struct{}

// Stay returns a context whose requests PassOn leaves where they are.
func Stay(ctx context.Context) context.Context { return context.WithValue(ctx, stayKey{}, true) }

// ConnContext is for http.Server: requests on a connection that was passed on stay.
func ConnContext(ctx context.Context, nc net.Conn) context.Context {
	for {
		if c, ok := nc.(*resumed); ok {
			if c.offered {
				return Stay(ctx)
			}
			return ctx
		}
		wrapper, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return ctx
		}
		nc = wrapper.NetConn()
	}
}
