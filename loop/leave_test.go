//go:build linux

package loop_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"

	"github.com/chaussette/chaussette/loop"
)

// server is an Owner that takes its time with a message, and hears what comes meanwhile.
type server struct {
	echo
	heard chan string
	stays atomic.Bool // when the peer has ended
	file  *os.File
	size  int64
}

func (s *server) Data(b []byte) bool {
	s.heard <- string(b)
	switch string(b) {
	case "long":
		s.Lock()
		s.LeaveLocked()
		s.Unlock()
		<-s.release
		s.Lock()
		_ = s.WriteLocked([]byte("answer"), nil, false)
		s.Unlock()
	case "flush":
		s.Lock()
		_ = s.WriteLocked([]byte("early"), nil, false)
		s.FlushLocked()
		s.Unlock()
		<-s.release
	case "file":
		s.Lock()
		_ = s.WriteLocked([]byte("head"), nil, false)
		_ = s.WriteFileLocked(s.file, 3, s.size)
		s.Unlock()
	}
	return true
}

func (s *server) PeerEnded() bool {
	s.heard <- "the end"
	return s.stays.Load()
}

func newServer(t *testing.T, g *loop.Group) (*server, *net.UnixConn) {
	t.Helper()
	s := &server{heard: make(chan string, 10)}
	s.release, s.ended, s.expired = make(chan struct{}), make(chan error, 1), make(chan struct{}, 10)
	nc := join(t, g, &s.Conn, s)
	return s, nc.(*net.UnixConn)
}

func tell(t *testing.T, nc net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(nc, text); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, nc net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(nc, b); err != nil || string(b) != want {
		t.Fatalf("%q, %v, want %q", b, err, want)
	}
}

// An Owner that has left the loop hears what comes, however long its call takes.
func TestLeave(t *testing.T) {
	g := newGroup(t)
	s, nc := newServer(t, g)
	for range 5 { // the loop is taken over, until calls are made aside
		tell(t, nc, "long")
		if got := <-s.heard; got != "long" {
			t.Fatal(got)
		}
		tell(t, nc, "more")
		if got := <-s.heard; got != "more" {
			t.Fatal(got)
		}
		s.release <- struct{}{}
		read(t, nc, "answer")
	}
	tell(t, nc, "flush")
	read(t, nc, "early")
	s.release <- struct{}{}
	nc.Close()
	_ = s.end(t)
}

// A peer that ends its side is answered by an Owner that stays.
func TestHalfClose(t *testing.T) {
	g := newGroup(t)
	s, nc := newServer(t, g)
	s.stays.Store(true)
	tell(t, nc, "long")
	if got := <-s.heard; got != "long" {
		t.Fatal(got)
	}
	_ = nc.CloseWrite()
	if got := <-s.heard; got != "the end" {
		t.Fatal(got)
	}
	close(s.release)
	read(t, nc, "answer")
	s.Lock()
	s.FinishLocked()
	s.Unlock()
	if err := s.end(t); err != nil {
		t.Error(err)
	}
}

// A file goes out by sendfile, larger than what the socket takes at once.
func TestFile(t *testing.T) {
	g := newGroup(t)
	s, nc := newServer(t, g)
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content := bytes.Repeat([]byte("0123456789"), 1_000_000)
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	s.Lock()
	s.file, s.size = f, int64(len(content)-3)
	s.Unlock()
	tell(t, nc, "file")
	read(t, nc, "head")
	read(t, nc, string(content[3:]))
	// One that is shorter than was said cuts the connection.
	s.Lock()
	s.size = int64(len(content))
	s.Unlock()
	tell(t, nc, "file")
	read(t, nc, "head")
	read(t, nc, string(content[3:]))
	if err := s.end(t); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
}
