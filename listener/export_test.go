package listener

import (
	"errors"
	"log/slog"
	"net"
)

// ParseAddress reads s and writes it again.
func ParseAddress(s string) (string, error) {
	a, err := parseAddress(s)
	if err != nil {
		return "", err
	}
	return a.String(), nil
}

// FromAccept is a Listener whose connections and errors come from accept.
func FromAccept(accept func() (net.Conn, error), log *slog.Logger) *Listener {
	l := &Listener{name: "test", addr: &net.TCPAddr{}, socket: acceptFunc(accept), closed: make(chan struct{})}
	l.trouble.log = log
	return l
}

type acceptFunc func() (net.Conn, error)

func (f acceptFunc) accept() (net.Conn, error) { return f() }
func (f acceptFunc) dup() (int, error)         { return -1, errors.ErrUnsupported }
func (f acceptFunc) close() error              { return nil }
