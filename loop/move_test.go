//go:build linux

package loop_test

import (
	"errors"
	"io"
	"testing"

	"github.com/chaussette/chaussette/loop"
)

// mover is an Owner that gives its connection to another at the first word.
type mover struct {
	loop.Conn
	next  *echo
	moved chan bool
	begin <-chan struct{} // until then the next one does not begin
}

func (m *mover) Data([]byte) bool {
	m.Lock()
	ok := m.MoveLocked(&m.next.Conn, m.next)
	m.Unlock()
	m.moved <- ok
	<-m.begin
	m.next.Lock()
	m.next.StartLocked()
	m.next.Unlock()
	return true
}

func (m *mover) Ended(error) { m.moved <- false }
func (m *mover) SentLocked() {}
func (m *mover) Expire()     {}

// A connection that moves to another Conn is that one's alone from then on, also where the
// loop has found something to read before that was ready.
func TestMove(t *testing.T) {
	g := newGroup(t)
	begin := make(chan struct{})
	m := &mover{moved: make(chan bool, 2), begin: begin,
		next: &echo{release: make(chan struct{}), ended: make(chan error, 1), expired: make(chan struct{}, 10)}}
	nc := join(t, g, &m.Conn, m)
	if _, err := io.WriteString(nc, "move"); err != nil {
		t.Fatal(err)
	}
	if !<-m.moved {
		t.Fatal("it has not moved")
	}
	if _, err := io.WriteString(nc, "hello"); err != nil {
		t.Fatal(err)
	}
	// So long that the loop is taken over, and finds that the next one is not ready.
	_, other := pair(t, g)
	say(t, other, "the loop goes on")
	close(begin)
	got := make([]byte, 5)
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != "hello" {
		t.Fatalf("got %q, %v", got, err)
	}
	say(t, nc, "hello again")
	if g.Len() != 2 || g.Open() != 2 {
		t.Errorf("%d connections, %d open, want 2", g.Len(), g.Open())
	}
	m.Lock()
	if m.FDLocked() >= 0 || m.MoveLocked(&loop.Conn{}, m) || m.DetachLocked() >= 0 {
		t.Error("the first one still has it")
	}
	m.Unlock()
	_ = nc.Close()
	if err := m.next.end(t); !errors.Is(err, io.EOF) {
		t.Errorf("ended with %v", err)
	}
	if len(m.moved) > 0 {
		t.Error("the first one was told of the end")
	}
}
