//go:build linux

package loop_test

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/loop"
)

// door is a PolledListener, whose TryAcceptFD fails as it is told.
type door struct {
	fd     int
	closed chan struct{}
	fail   atomic.Int32 // an errno for the next TryAcceptFD
	polled atomic.Int32 // times that PollFD was called
	waited atomic.Int32 // connections that AcceptFD has returned
}

func newDoor(t *testing.T) (*door, string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 100)); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	a := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at.(*unix.SockaddrInet4).Port}
	return &door{fd: fd, closed: make(chan struct{})}, a.String()
}

func (d *door) AcceptFD(*unix.RawSockaddrAny) (int, error) {
	for {
		select {
		case <-d.closed:
			return -1, net.ErrClosed
		default:
		}
		if fd, err := d.accept(); err != unix.EAGAIN {
			d.waited.Add(1)
			return fd, err
		}
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}}, 10); err != nil && err != unix.EINTR {
			return -1, err
		}
	}
}

func (d *door) accept() (int, error) {
	fd, _, err := unix.Accept4(d.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	return fd, err
}

func (d *door) PollFD() (int, error) {
	d.polled.Add(1)
	return unix.FcntlInt(uintptr(d.fd), unix.F_DUPFD_CLOEXEC, 0)
}

func (d *door) TryAcceptFD(int, *unix.RawSockaddrAny) (int, error) {
	if errno := d.fail.Swap(0); errno != 0 {
		return -1, unix.Errno(errno)
	}
	return d.accept()
}

func (d *door) Closed() <-chan struct{} { return d.closed }

// waiting is a door that cannot be polled.
type waiting struct{ d *door }

func (w waiting) AcceptFD(peer *unix.RawSockaddrAny) (int, error) { return w.d.AcceptFD(peer) }

// greet connects and has a greeting echoed.
func greet(t *testing.T, address string) {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	tell(t, nc, "hello")
	b := make([]byte, 5)
	if n, err := nc.Read(b); err != nil || string(b[:n]) != "hello" {
		t.Fatalf("got %q, %v", b[:n], err)
	}
}

func TestAccept(t *testing.T) {
	tests := []struct {
		name   string
		wrap   func(*door) loop.Listener
		polled int32
	}{
		{"polled", func(d *door) loop.Listener { return d }, 1},
		{"waited for", func(d *door) loop.Listener { return waiting{d} }, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := newGroup(t)
			d, address := newDoor(t)
			done := make(chan error, 1)
			ended := make(chan error, 100)
			go func() {
				done <- g.Accept(test.wrap(d), func(fd int, _ *unix.RawSockaddrAny) error {
					e := &echo{ended: ended}
					if err := g.Add(&e.Conn, e, fd); err != nil {
						return err
					}
					e.Lock()
					e.StartLocked()
					e.Unlock()
					return nil
				})
			}()
			for range 20 {
				greet(t, address)
				<-ended
			}
			if test.polled > 0 {
				// What the loop cannot do, AcceptFD does; then the loop goes on.
				d.fail.Store(int32(unix.EMFILE))
				greet(t, address)
				greet(t, address)
				if d.polled.Load() != 2 || d.waited.Load() != 1 {
					t.Errorf("polled %d times, %d connections waited for", d.polled.Load(), d.waited.Load())
				}
			}
			close(d.closed)
			if err := <-done; !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAcceptEnds(t *testing.T) {
	t.Run("take fails", func(t *testing.T) {
		g := newGroup(t)
		d, address := newDoor(t)
		no := errors.New("no")
		done := make(chan error, 1)
		go func() { done <- g.Accept(d, func(fd int, _ *unix.RawSockaddrAny) error { unix.Close(fd); return no }) }()
		nc, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if err := <-done; !errors.Is(err, no) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the group is closed", func(t *testing.T) {
		g, err := loop.NewGroup(1)
		if err != nil {
			t.Fatal(err)
		}
		first, _ := newDoor(t)
		second, _ := newDoor(t)
		done := make(chan error, 2)
		for _, d := range []*door{first, second} {
			go func() { done <- g.Accept(d, func(fd int, _ *unix.RawSockaddrAny) error { return unix.Close(fd) }) }()
		}
		for end := time.Now().Add(patience); first.polled.Load() == 0 || second.polled.Load() == 0; {
			if time.Now().After(end) {
				t.Fatal("nothing is polled")
			}
			time.Sleep(time.Millisecond)
		}
		g.Close()
		for range 2 {
			if err := <-done; !errors.Is(err, loop.ErrClosed) {
				t.Errorf("got %v", err)
			}
		}
		if err := g.Accept(first, nil); !errors.Is(err, loop.ErrClosed) {
			t.Errorf("afterwards: %v", err)
		}
	})
}
