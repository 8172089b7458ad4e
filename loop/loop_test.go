//go:build linux

package loop_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chaussette/chaussette/loop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// echo is an Owner that echoes, and waits at the message "block".
type echo struct {
	loop.Conn
	release chan struct{}
	ended   chan error
	expired chan struct{}
}

func (e *echo) Data(b []byte) bool {
	if bytes.HasPrefix(b, []byte("block")) {
		<-e.release
	}
	e.Lock()
	defer e.Unlock()
	_ = e.WriteLocked(b, nil, false)
	return !bytes.HasPrefix(b, []byte("end"))
}

func (e *echo) Ended(err error) { e.ended <- err }
func (e *echo) SentLocked()     {}
func (e *echo) Expire()         { e.expired <- struct{}{} }

// pair returns an echo on the group, and its peer.
func pair(t *testing.T, g *loop.Group) (*echo, net.Conn) {
	t.Helper()
	e := &echo{release: make(chan struct{}), ended: make(chan error, 1), expired: make(chan struct{}, 10)}
	return e, join(t, g, &e.Conn, e)
}

// join makes c a connection on the group, and returns its peer.
func join(t *testing.T, g *loop.Group, c *loop.Conn, owner loop.Owner) net.Conn {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[1]), "peer")
	defer f.Close()
	nc, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	if err := g.Add(c, owner, fds[0]); err != nil {
		t.Fatal(err)
	}
	c.Lock()
	c.StartLocked()
	c.Unlock()
	return nc
}

func newGroup(t *testing.T) *loop.Group {
	t.Helper()
	g, err := loop.NewGroup(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func (e *echo) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-e.ended:
		return err
	case <-time.After(patience):
		t.Fatal("Ended was not called")
		return nil
	}
}

func say(t *testing.T, nc net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(nc, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v, want %q", got, err, text)
	}
}

// An Owner that blocks keeps its own connection from being served, and no other; when it
// goes on, its connection does, with what has come meanwhile.
func TestOwnerThatBlocks(t *testing.T) {
	g := newGroup(t)
	var stuck []*echo
	var peers []net.Conn
	for range 20 {
		e, nc := pair(t, g)
		io.WriteString(nc, "block")
		stuck, peers = append(stuck, e), append(peers, nc)
	}
	free, nc := pair(t, g)
	for range 50 {
		say(t, nc, "hello")
	}
	if g.Takeovers() == 0 {
		t.Error("the loop was not taken over")
	}
	for i, e := range stuck {
		io.WriteString(peers[i], "more")
		close(e.release)
		got := make([]byte, len("blockmore"))
		if _, err := io.ReadFull(peers[i], got); err != nil || string(got) != "blockmore" {
			t.Errorf("got %q, %v", got, err)
		}
		peers[i].Close()
		if err := e.end(t); err != io.EOF {
			t.Errorf("ended with %v", err)
		}
	}
	nc.Close()
	free.end(t)
	if g.Len() != 0 {
		t.Errorf("%d connections are left", g.Len())
	}
}

func TestEnds(t *testing.T) {
	g := newGroup(t)
	reason := errors.New("a reason")
	for _, test := range []struct {
		name string
		how  func(e *echo, nc net.Conn)
		want error
	}{
		{"by the peer", func(_ *echo, nc net.Conn) { nc.Close() }, io.EOF},
		{"cut", func(e *echo, _ net.Conn) { e.Lock(); e.CutLocked(reason); e.CutLocked(io.EOF); e.Unlock() }, reason},
		{"by the Owner", func(_ *echo, nc net.Conn) { io.WriteString(nc, "end") }, nil},
		{"finished", func(e *echo, _ net.Conn) { e.Lock(); e.FinishLocked(); e.Unlock() }, nil},
		{"cut while paused", func(e *echo, _ net.Conn) { e.Lock(); e.PauseLocked(); e.CutLocked(reason); e.Unlock() }, reason},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, nc := pair(t, g)
			say(t, nc, "hello")
			test.how(e, nc)
			if err := e.end(t); err != test.want {
				t.Errorf("ended with %v, want %v", err, test.want)
			}
			e.Lock()
			defer e.Unlock()
			if err := e.WriteLocked([]byte("x"), nil, false); err != loop.ErrClosed || e.FDLocked() != -1 {
				t.Errorf("after the end: %v, descriptor %d", err, e.FDLocked())
			}
		})
	}
}

// What the peer does not read is queued, in order, and sent when it does.
func TestSlowPeer(t *testing.T) {
	g := newGroup(t)
	e, nc := pair(t, g)
	shared := bytes.Repeat([]byte("s"), 50_000)
	var want []byte
	for i := range 100 {
		head := []byte{byte(i)}
		e.Lock()
		if err := e.WriteLocked(head, shared, true); err != nil {
			t.Fatal(err)
		}
		e.Unlock()
		want = append(append(want, head...), shared...)
	}
	e.Lock()
	if e.WaitingLocked() == 0 {
		t.Error("nothing waits")
	}
	e.FinishLocked()
	e.Unlock()
	got, err := io.ReadAll(nc)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d came, %v", len(got), len(want), err)
	}
	e.end(t)
}

func TestPauseAndDeadline(t *testing.T) {
	g := newGroup(t)
	e, nc := pair(t, g)
	say(t, nc, "hello")
	e.Lock()
	e.PauseLocked()
	e.Unlock()
	io.WriteString(nc, "later")
	e.SetDeadline(20 * time.Millisecond)
	select {
	case <-e.expired:
	case <-time.After(patience):
		t.Fatal("the deadline did not come")
	}
	nc.SetReadDeadline(time.Now())
	if n, _ := nc.Read(make([]byte, 10)); n > 0 {
		t.Error("a paused connection was read")
	}
	nc.SetReadDeadline(time.Now().Add(patience))
	e.Lock()
	e.ResumeLocked()
	e.Unlock()
	got := make([]byte, 5)
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != "later" {
		t.Errorf("got %q, %v", got, err)
	}
	nc.Close()
	e.end(t)
}

// DetachLocked gives the descriptor back, open.
func TestDetach(t *testing.T) {
	g := newGroup(t)
	e, nc := pair(t, g)
	say(t, nc, "hello")
	e.Lock()
	fd := e.DetachLocked()
	e.Unlock()
	if fd < 0 || g.Len() != 0 || g.Open() != 0 {
		t.Fatalf("descriptor %d, %d connections", fd, g.Len())
	}
	f := os.NewFile(uintptr(fd), "detached")
	defer f.Close()
	if _, err := f.WriteString("from outside"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 12)
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != "from outside" {
		t.Errorf("got %q, %v", got, err)
	}
}

// counter is an Owner that tells how much it was given at once.
type counter struct {
	loop.Conn
	sizes chan int
}

func (c *counter) Data(b []byte) bool { c.sizes <- len(b); return true }
func (c *counter) Ended(error)        { close(c.sizes) }
func (c *counter) SentLocked()        {}
func (c *counter) Expire()            {}

// A brief Conn is read in small parts, until it is not any more.
func TestBrief(t *testing.T) {
	g := newGroup(t)
	c := &counter{sizes: make(chan int)}
	peer := join(t, g, &c.Conn, c)
	c.Lock()
	c.BriefLocked(true)
	c.Unlock()
	const size = 100_000
	if _, err := peer.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	read := <-c.sizes
	if read > loop.BriefRead {
		t.Errorf("%d bytes at once", read)
	}
	c.Lock()
	c.BriefLocked(false)
	c.Unlock()
	most := 0
	for read < size { // the next part may have been read before
		n := <-c.sizes
		read, most = read+n, max(most, n)
	}
	if most <= loop.BriefRead {
		t.Errorf("%d bytes at once, at most", most)
	}
	peer.Close()
	for range c.sizes {
	}
}

// Nobody watches an Owner that says it is quick; others of the same loop are watched.
func TestQuick(t *testing.T) {
	g := newGroup(t)
	quick, peer := pair(t, g)
	quick.Lock()
	quick.QuickLocked()
	quick.Unlock()
	say := func(nc net.Conn) {
		t.Helper()
		var b [5]byte
		if _, err := nc.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(nc, b[:]); err != nil {
			t.Fatal(err)
		}
	}
	say(peer)
	if g.Watches() {
		t.Error("a quick Owner is watched")
	}
	_, other := pair(t, g)
	for range 1000 {
		say(other)
		if g.Watches() { // until it has been quiet for some looks
			return
		}
	}
	t.Error("an Owner that may block is not watched")
}
