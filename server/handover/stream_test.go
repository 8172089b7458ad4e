package handover_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/chaussette/chaussette/listener/siblings"
	"github.com/chaussette/chaussette/server/handover"
)

// given is a stream as the worker gets it to whom it was given.
type given struct {
	net.Conn
	remote string
}

// taker is a worker without HTTP. Its channel gets what it is given; nil takes none.
func taker(t *testing.T, base string, streams chan given) (*handover.Exchange, *siblings.Siblings) {
	t.Helper()
	s, err := siblings.Open(&siblings.Options{Key: "streams", Base: base})
	if err != nil {
		t.Fatal(err)
	}
	e := handover.New(&handover.Options{Siblings: s})
	if streams != nil {
		e.TakeStreams(func(c net.Conn, remote string) { streams <- given{c, remote} })
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = e.Close()
		_ = s.Close()
	})
	return e, s
}

func meet(t *testing.T, a, b *siblings.Siblings) {
	t.Helper()
	for end := time.Now().Add(patience); !a.Has(b.Tag()) || !b.Has(a.Tag()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("they do not meet")
		}
	}
}

// A stream comes with what was read of it, goes both ways, and ends on both sides.
func TestGiveStream(t *testing.T) {
	base, streams := t.TempDir(), make(chan given, 1)
	from, a := taker(t, base, nil)
	to, b := taker(t, base, streams)
	meet(t, a, b)
	c, err := from.GiveStream([]byte("read "), "192.0.2.1:80", b.Tag())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	var g given
	select {
	case g = <-streams:
	case <-time.After(patience):
		t.Fatal("nothing has come")
	}
	defer g.Close()
	_ = g.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("and more")); err != nil {
		t.Fatal(err)
	}
	up := make([]byte, len("read and more"))
	if _, err := io.ReadFull(g, up); err != nil || string(up) != "read and more" || g.remote != "192.0.2.1:80" {
		t.Errorf("%q from %s, error %v", up, g.remote, err)
	}
	if _, err := g.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	down := make([]byte, len("answer"))
	if _, err := io.ReadFull(c, down); err != nil || string(down) != "answer" {
		t.Errorf("%q, error %v", down, err)
	}
	_ = c.Close()
	if n, err := g.Read(up); err != io.EOF {
		t.Errorf("%d bytes, error %v, want the end", n, err)
	}
	if n := from.Counts().Given + to.Counts().Taken; n != 2 {
		t.Errorf("given %d, taken %d", from.Counts().Given, to.Counts().Taken)
	}
}

// Where nobody serves it the stream ends.
func TestGiveStreamToNobody(t *testing.T) {
	base := t.TempDir()
	from, a := taker(t, base, nil)
	if _, err := from.GiveStream(nil, "", "zzzz"); !errors.Is(err, siblings.ErrGone) {
		t.Errorf("to one who is not there: %v", err)
	}
	streams := make(chan given, 1)
	to, b := taker(t, base, streams)
	_, without := taker(t, base, nil)
	meet(t, a, b)
	meet(t, a, without)
	_ = to.Close() // it drains
	for name, tag := range map[string]siblings.Tag{"takes no more": b.Tag(), "takes none": without.Tag()} {
		c, err := from.GiveStream([]byte("x"), "", tag)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: %d bytes, error %v, want the end", name, n, err)
		}
		_ = c.Close()
	}
	if len(streams) > 0 {
		t.Error("a stream was taken after the end")
	}
}
