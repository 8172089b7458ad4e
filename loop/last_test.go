//go:build linux

package loop_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/loop"
)

// What is written last arrives whole before the end of the stream, also where the socket
// does not take it at once, or where the peer has sent what nobody will read.
func TestLast(t *testing.T) {
	tests := []struct {
		size   int
		unread bool
	}{{3, false}, {3, true}, {1000, true}, {50_000, false}}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%d bytes, unread %v", test.size, test.unread), func(t *testing.T) {
			g := newGroup(t)
			d, address := newDoor(t)
			// A small buffer, so that a large answer has to wait.
			if err := unix.SetsockoptInt(d.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4096); err != nil {
				t.Fatal(err)
			}
			l := &last{echo: echo{ended: make(chan error, 1)}, answer: bytes.Repeat([]byte("x"), test.size), called: make(chan struct{})}
			if test.unread {
				l.unread = make(chan struct{})
			}
			go func() {
				_ = g.Accept(d, func(fd int, _ *unix.RawSockaddrAny) error {
					if err := g.Add(&l.Conn, l, fd); err != nil {
						return err
					}
					l.Lock()
					defer l.Unlock()
					l.StartLocked()
					return nil
				})
			}()
			defer close(d.closed)
			nc, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(patience))
			tell(t, nc, "go")
			<-l.called
			if test.unread {
				tell(t, nc, "more")
				close(l.unread)
			}
			got := make([]byte, test.size)
			if n, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, l.answer) {
				t.Errorf("got %d bytes, %v", n, err)
			}
			if n, err := nc.Read(make([]byte, 1)); err == nil {
				t.Errorf("%d bytes more", n)
			}
			<-l.ended
		})
	}
}

// last gives an answer, and ends.
type last struct {
	echo
	answer []byte
	called chan struct{}
	unread chan struct{} // closed when the peer has sent more, or nil
}

func (l *last) Data([]byte) bool {
	l.Lock()
	_ = l.WriteLocked(l.answer, nil, false)
	l.Unlock()
	close(l.called)
	if l.unread != nil {
		<-l.unread
	}
	return false
}

var _ loop.Owner = (*last)(nil)
