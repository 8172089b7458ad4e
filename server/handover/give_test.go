package handover_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/listener/siblings"
	"github.com/chaussette/chaussette/server/handover"
)

// bare is a worker that serves nothing, and keeps what siblings give to it.
type bare struct {
	*handover.Exchange
	siblings *siblings.Siblings
	taken    chan handover.Moved
}

func startBare(t *testing.T, base string, conns int) *bare {
	t.Helper()
	s, err := siblings.Open(&siblings.Options{Key: "test", Base: base})
	if err != nil {
		t.Fatal(err)
	}
	b := &bare{siblings: s, taken: make(chan handover.Moved, 100)}
	b.Exchange = handover.New(&handover.Options{Siblings: s, Conns: func() int { return conns }})
	b.Take(func(m handover.Moved) { b.taken <- m })
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.Close()
		_ = s.Close()
	})
	return b
}

// next is what b takes next, and the connection.
func (b *bare) next(t *testing.T) (handover.Moved, net.Conn) {
	t.Helper()
	select {
	case m := <-b.taken:
		file := os.NewFile(uintptr(m.FD), "moved")
		defer file.Close()
		c, err := net.FileConn(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return m, c
	case <-time.After(patience):
		t.Fatal("no connection comes")
		panic("unreachable")
	}
}

// heard waits until e knows of these connections of its siblings.
func heard(t *testing.T, e *handover.Exchange, want string) {
	t.Helper()
	for end := time.Now().Add(patience); e.Heard() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("siblings have %q, want %q", e.Heard(), want)
		}
	}
}

// accepted returns both ends of a connection, and the descriptor of the second.
func accepted(t *testing.T) (client, server net.Conn, fd int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client = dial(t, l.Addr().String())
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	raw, err := server.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(d uintptr) { fd = int(d) }); err != nil {
		t.Fatal(err)
	}
	return client, server, fd
}

// A descriptor goes to whom it is for, with what was read of it, and the giver's own may
// be closed then.
func TestGive(t *testing.T) {
	base := t.TempDir()
	a, b := startBare(t, base, 0), startBare(t, base, 0)
	client, server, fd := accepted(t)
	if err := a.Give(fd, []byte("read"), nobody); !errors.Is(err, siblings.ErrGone) {
		t.Errorf("to nobody: %v", err)
	}
	if err := a.Give(fd, make([]byte, 33<<20), b.siblings.Tag()); !errors.Is(err, siblings.ErrTooLarge) {
		t.Errorf("too much: %v", err)
	}
	if err := a.Give(fd, []byte("read"), b.siblings.Tag()); err != nil {
		t.Fatal(err)
	}
	_ = server.Close()
	m, c := b.next(t)
	if string(m.Read) != "read" || m.Offered || m.Remote != "" {
		t.Errorf("%+v", m)
	}
	_, _ = io.WriteString(client, "more")
	got := make([]byte, 4)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "more" {
		t.Errorf("%q, %v", got, err)
	}
	if n := a.Counts(); n != (handover.Counts{Given: 1}) {
		t.Errorf("%+v", n)
	}
}

// What is for anybody goes to the one with the fewest, who has one more then.
func TestOffer(t *testing.T) {
	base := t.TempDir()
	a := startBare(t, base, 0)
	_, _, fd := accepted(t)
	if err := a.Offer(fd, nil); !errors.Is(err, handover.ErrNobody) {
		t.Errorf("without siblings: %v", err)
	}
	b, c := startBare(t, base, 5), startBare(t, base, 7)
	heard(t, a.Exchange, "5 7")
	for range 4 { // 5, 6, and 7 or 7
		if err := a.Offer(fd, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	heard(t, a.Exchange, "8 8")
	for range 2 {
		if m, _ := b.next(t); string(m.Read) != "x" || !m.Offered {
			t.Errorf("%+v", m)
		}
	}
	c.next(t)
	b.Leave()
	heard(t, a.Exchange, "8")
	c.Leave()
	heard(t, a.Exchange, "")
	if err := a.Offer(fd, nil); !errors.Is(err, handover.ErrNobody) {
		t.Errorf("to those who leave: %v", err)
	}
	if err := a.Give(fd, nil, c.siblings.Tag()); err != nil {
		t.Errorf("for a session of one who leaves: %v", err)
	}
	if n := a.Counts(); n != (handover.Counts{Given: 1, Offered: 4}) {
		t.Errorf("%+v", n)
	}
}

// An offer that is a moment too late goes to the next, and not round for ever.
func TestLateOffer(t *testing.T) {
	base := t.TempDir()
	b, c := startBare(t, base, 0), startBare(t, base, 0)
	heard(t, b.Exchange, "0")
	_ = b.Close()
	s, err := siblings.Open(&siblings.Options{Key: "test", Base: base})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	client, server, fd := accepted(t)
	send := func(what byte) {
		t.Helper()
		if err := s.HandOver(b.siblings.Tag(), siblings.Connections, []byte{what, 0, 'x'}, fd); err != nil {
			t.Fatal(err)
		}
	}
	send(2)
	if m, _ := c.next(t); string(m.Read) != "x" {
		t.Errorf("%+v", m)
	}
	send(4)
	_ = server.Close()
	if got, err := bufio.NewReader(client).ReadString('\n'); got != "HTTP/1.1 503 Service Unavailable\r\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// What is no message is dropped, and its descriptor is closed.
func TestMalformed(t *testing.T) {
	base := t.TempDir()
	b := startBare(t, base, 0)
	s, err := siblings.Open(&siblings.Options{Key: "test", Base: base})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	client, server, fd := accepted(t)
	for _, m := range []string{"", "\x00", "\x01", "\x01\x05abc", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x09\x00", "\x05\x00\x01"} {
		if err := s.HandOver(b.siblings.Tag(), siblings.Connections, []byte(m), fd); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []string{"", "\x05", "\x05\x80\x80", "\x05\x01\x02", "\x05\x01\x01\x01", "\x05\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x01", "\x01\x00GET"} {
		if err := s.Send(b.siblings.Tag(), siblings.Connections, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Send(b.siblings.Tag(), siblings.Connections, []byte("\x05\x03\x01")); err != nil {
		t.Fatal(err)
	}
	heard(t, b.Exchange, "3")
	_ = server.Close()
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a descriptor is open still: %v", err)
	}
	if n := len(b.taken); n != 0 {
		t.Errorf("%d connections were taken", n)
	}
}

// A worker with far more than its share passes on what lasts, once.
func TestPassOn(t *testing.T) {
	base := t.TempDir()
	a, b := start(t, base, nil), start(t, base, nil)
	request := func(c net.Conn, in *bufio.Reader) string {
		t.Helper()
		fmt.Fprint(c, "GET /lasting HTTP/1.1\r\nHost: h\r\n\r\n")
		return read(t, in)
	}
	served := func(by *worker, got string) {
		t.Helper()
		if !strings.HasPrefix(got, string(by.tag)) {
			t.Errorf("%s, want it by %s", got, by.tag)
		}
	}
	heard(t, a.exchange, "0")
	c := dial(t, a.addr)
	in := bufio.NewReader(c)
	a.conns.Store(15)
	served(a, request(c, in)) // no more than noise
	heard(t, b.exchange, "15")
	a.conns.Store(100)
	served(b, request(c, in))
	b.conns.Store(1000)
	served(b, request(c, in)) // it has moved once
	heard(t, a.exchange, "1000")
	c = dial(t, a.addr)
	served(a, request(c, bufio.NewReader(c)))
	b.conns.Store(0)
	heard(t, a.exchange, "0")
	// With a body it moves as well.
	c = dial(t, a.addr)
	fmt.Fprint(c, "POST /lasting HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
	served(b, read(t, bufio.NewReader(c)))
	counted(t, a.exchange, handover.Counts{Offered: 2})
}

// counted waits until e has done this much: the other worker may answer before it is counted.
func counted(t *testing.T, e *handover.Exchange, want handover.Counts) {
	t.Helper()
	for end := time.Now().Add(patience); e.Counts() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v, want %+v", e.Counts(), want)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range handover.Messages() {
		f.Add(m)
	}
	f.Add([]byte("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add([]byte("\x05\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x01"))
	f.Fuzz(func(t *testing.T, m []byte) {
		again, err := handover.Reparse(m)
		if err != nil {
			return
		}
		// What is parsed means the same again; a varint may have been longer than need be.
		twice, err := handover.Reparse(again)
		if err != nil || !bytes.Equal(again, twice) || len(again) > len(m) {
			t.Errorf("%q became %q and %q, %v", m, again, twice, err)
		}
	})
}
