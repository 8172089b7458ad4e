//go:build linux

package loop_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/loop"
)

// waiter is an Owner that is told of what has come, before it is read.
type waiter struct {
	loop.Conn
	awaited chan int64
	heard   chan []byte
	ended   chan error
}

func (w *waiter) Data(b []byte) bool   { w.heard <- bytes.Clone(b); return true }
func (w *waiter) Awaited(unread int64) { w.awaited <- unread }
func (w *waiter) Ended(err error)      { w.ended <- err }
func (w *waiter) SentLocked()          {}
func (w *waiter) Expire()              {}

func newWaiter() *waiter {
	return &waiter{awaited: make(chan int64, 10), heard: make(chan []byte, 100), ended: make(chan error, 1)}
}

// overTCP returns a waiter on the group, whose connection is one of TCP, and its peer.
func overTCP(t *testing.T, g *loop.Group) (*waiter, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	f, err := accepted.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	w := newWaiter()
	if err := g.Add(&w.Conn, w, fd); err != nil {
		t.Fatal(err)
	}
	w.Lock()
	w.StartLocked()
	w.Unlock()
	return w, nc.(*net.TCPConn)
}

func (w *waiter) await(t *testing.T, n int64) {
	t.Helper()
	w.Lock()
	defer w.Unlock()
	if !w.AwaitLocked(n) {
		t.Fatal("it cannot wait")
	}
}

// resume has the Conn read on, and returns what has come, of so many bytes.
func (w *waiter) resume(n int) (got []byte) {
	w.Lock()
	w.ResumeLocked()
	w.Unlock()
	for len(got) < n {
		got = append(got, <-w.heard...)
	}
	return got
}

func lowWater(t *testing.T, fd int) int {
	t.Helper()
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The Owner is told once, when all is there, and reads it then.
func TestAwait(t *testing.T) {
	g := newGroup(t)
	w, nc := overTCP(t, g)
	other, peer := pair(t, g) // by which the loop has been through a round
	const size = 300_000
	for range 3 {
		want := bytes.Repeat([]byte("0123456789"), size/10)
		w.await(t, size)
		for at := 0; at < size; at += size / 3 {
			if len(w.awaited)+len(w.heard) > 0 {
				t.Fatal("told too early")
			}
			if _, err := nc.Write(want[at : at+size/3]); err != nil {
				t.Fatal(err)
			}
			if at+size/3 < size {
				say(t, peer, "meanwhile")
			}
		}
		if n := <-w.awaited; n != size {
			t.Errorf("%d bytes are there", n)
		}
		w.Lock()
		if n := w.UnreadLocked(); n != size || lowWater(t, w.FDLocked()) != 1 {
			t.Errorf("%d bytes are unread, the mark is at %d", n, lowWater(t, w.FDLocked()))
		}
		w.Unlock()
		say(t, peer, "meanwhile")
		if len(w.heard) > 0 {
			t.Error("read, and nobody asked")
		}
		if got := w.resume(size); !bytes.Equal(got, want) {
			t.Errorf("%d bytes, or other ones", len(got))
		}
	}
	// Another amount in its place; what is there already.
	w.await(t, size)
	if _, err := nc.Write([]byte("short")); err != nil {
		t.Fatal(err)
	}
	w.await(t, 5)
	if n := <-w.awaited; n != 5 {
		t.Errorf("%d bytes are there", n)
	}
	w.await(t, 5)
	if n := <-w.awaited; n != 5 {
		t.Errorf("%d bytes are still there", n)
	}
	// No more is waited for: it is read as any.
	w.await(t, size)
	w.Lock()
	w.StopAwaitLocked()
	w.Unlock()
	if got := <-w.heard; string(got) != "short" {
		t.Errorf("%q", got)
	}
	nc.Close()
	if err := <-w.ended; err != io.EOF {
		t.Error(err)
	}
	peer.Close()
	other.end(t)
}

// It is told of less where no more comes.
func TestAwaitInVain(t *testing.T) {
	g := newGroup(t)
	for name, leave := range map[string]func(*net.TCPConn){
		"ends its side": func(c *net.TCPConn) { _ = c.CloseWrite() },
		"breaks it off": func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			w, nc := overTCP(t, g)
			w.await(t, 1000)
			if _, err := nc.Write([]byte("short")); err != nil {
				t.Fatal(err)
			}
			leave(nc)
			if n := <-w.awaited; n >= 1000 {
				t.Errorf("%d bytes", n)
			}
			w.Lock()
			w.ResumeLocked()
			w.Unlock()
			<-w.ended
		})
	}
	t.Run("it is cut", func(t *testing.T) {
		w, _ := overTCP(t, g)
		w.await(t, 1000)
		w.Lock()
		w.CutLocked(os.ErrDeadlineExceeded)
		w.Unlock()
		if err := <-w.ended; err != os.ErrDeadlineExceeded {
			t.Error(err)
		}
		w.Lock()
		defer w.Unlock()
		if w.AwaitLocked(1) || w.UnreadLocked() != -1 {
			t.Error("a closed one waits")
		}
		w.StopAwaitLocked()
	})
}

// Who gets the descriptor finds it as it was.
func TestAwaitAndLeave(t *testing.T) {
	g := newGroup(t)
	w, nc := overTCP(t, g)
	w.await(t, 1000)
	w.Lock()
	fd := w.DetachLocked()
	w.Unlock()
	if n := lowWater(t, fd); n != 1 {
		t.Errorf("detached: the mark is at %d", n)
	}
	_ = unix.Close(fd)
	_ = nc.Close()

	w, nc = overTCP(t, g)
	w.await(t, 1000)
	next := newWaiter()
	w.Lock()
	if !w.MoveLocked(&next.Conn, next) {
		t.Fatal("not moved")
	}
	w.Unlock()
	next.Lock()
	next.StartLocked()
	next.Unlock()
	if _, err := nc.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if got := <-next.heard; string(got) != "x" {
		t.Errorf("%q", got)
	}
	_ = nc.Close()
	<-next.ended
}

// What cannot wait says so: a socket that is not TCP, an Owner who could not be told.
func TestAwaitUnsupported(t *testing.T) {
	g := newGroup(t)
	w := newWaiter()
	peer := join(t, g, &w.Conn, w)
	e, other := pair(t, g)
	w.Lock()
	if w.AwaitLocked(10) || lowWater(t, w.FDLocked()) != 1 {
		t.Error("a Unix socket waits")
	}
	w.Unlock()
	e.Lock()
	if e.AwaitLocked(10) {
		t.Error("an Owner waits that is no Awaiter")
	}
	e.Unlock()
	say(t, other, "hello")
	if _, err := io.WriteString(peer, "hello"); err != nil {
		t.Fatal(err)
	}
	if got := <-w.heard; string(got) != "hello" {
		t.Errorf("%q", got)
	}
	peer.Close()
	<-w.ended
	other.Close()
	e.end(t)
}
