package lowat_test

import (
	"io"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/internal/lowat"
)

// pair is a connection: the descriptor of one end, and the other end.
func pair(t *testing.T, network, address string) (int, net.Conn) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.(interface{ File() (*os.File, error) }).File()
	_ = s.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return int(f.Fd()), c
}

// wait waits until fd is readable.
func wait(t *testing.T, fd int) {
	t.Helper()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
	if n != 1 || err != nil {
		t.Fatalf("poll: %d, %v", n, err)
	}
}

// A connection is readable when what is awaited has come, however large it is, and not before.
func TestSet(t *testing.T) {
	for _, n := range []int{2, 1 << 10, 1 << 20} {
		fd, c := pair(t, "tcp", "127.0.0.1:0")
		if !lowat.Heeded(fd) {
			t.Fatal("TCP heeds no mark")
		}
		if err := lowat.Set(fd, n); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(make([]byte, n-1)); err != nil {
			t.Fatal(err)
		}
		for lowat.Unread(fd) < int64(n-1) {
			if lowat.Readable(fd) {
				t.Fatalf("readable with %d of %d bytes", lowat.Unread(fd), n)
			}
		}
		if lowat.Readable(fd) {
			t.Errorf("readable with all but one of %d bytes", n)
		}
		if _, err := c.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		wait(t, fd)
		if got := lowat.Unread(fd); got != int64(n) {
			t.Errorf("%d of %d bytes are there", got, n)
		}
	}
}

// Without a mark one byte is enough, and with one the end is.
func TestClear(t *testing.T) {
	fd, c := pair(t, "tcp", "127.0.0.1:0")
	if err := lowat.Set(fd, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "a"); err != nil {
		t.Fatal(err)
	}
	for lowat.Unread(fd) < 1 {
	}
	if lowat.Readable(fd) {
		t.Error("readable with one of 100 bytes")
	}
	lowat.Clear(fd)
	wait(t, fd)
	if err := lowat.Move(fd, 100); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	wait(t, fd)
}

func TestHeeded(t *testing.T) {
	if fd, _ := pair(t, "unix", t.TempDir()+"/s"); lowat.Heeded(fd) {
		t.Error("a Unix socket heeds a mark")
	}
}
