package ws_test

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/ws"
)

// A group that nobody has is forgotten; one that somebody has stays the same.
func TestGroupsForget(t *testing.T) {
	groups := new(ws.Groups)
	kept := groups.Group("kept")
	for i := range 1000 {
		groups.Group(strings.Repeat("x", i))
	}
	for end := time.Now().Add(20 * time.Second); ; {
		runtime.GC()
		if n := groups.Names(); n == 1 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%d groups are remembered", n)
		}
	}
	if groups.Group("kept") != kept || kept.Name() != "kept" {
		t.Error("a group that somebody has was forgotten")
	}
	runtime.KeepAlive(kept)
}

func TestGroupsPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"a long name":        func() { new(ws.Groups).Group(strings.Repeat("x", 1025)) },
		"a strange context":  func() { ws.GroupFrom(context.Background(), "x") },
		"an empty broadcast": func() { new(ws.Groups).Group("x").Send(ws.MessageType(8), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

// What is delivered is a server's whole data frames, and nothing else.
func TestDeliverMalformed(t *testing.T) {
	groups := new(ws.Groups)
	for name, frames := range map[string][]byte{
		"nothing":                 {},
		"half a header":           {0x81},
		"no final frame":          {0x01, 0},
		"a continuation":          {0x80, 0},
		"a close frame":           {0x88, 0},
		"a masked frame":          {0x81, 0x80, 0, 0, 0, 0},
		"a compressed frame":      {0xC1, 0},
		"another extension":       {0xA1, 0},
		"too short":               {0x81, 2, 'x'},
		"length in half of 16":    {0x81, 126, 1},
		"length in half of 64":    {0x81, 127, 0, 0, 0, 0, 0, 0, 0},
		"length with the top bit": {0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 1, 'x'},
		"rubbish behind":          {0x81, 1, 'x', 0x81},
	} {
		if err := groups.Deliver("x", frames); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := groups.Deliver("x", []byte{0x81, 1, 'x', 0x82, 0}); err != nil {
		t.Error(err)
	}
}

func FuzzDeliver(f *testing.F) {
	for _, size := range []int{0, 1, 125, 126, 65535, 65536} {
		f.Add(ws.NewPrepared(ws.Text, bytes.Repeat([]byte("x"), size)).Frames(nil))
	}
	f.Add(ws.Prepare(ws.Message{Type: ws.Text, Data: []byte("a")}, ws.Message{Type: ws.Binary, Data: []byte("b")}).Frames(nil))
	f.Add([]byte("\x91\x01a\x82\x01b")) // one that is not to be compressed
	f.Add([]byte{0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 1, 'x'})
	f.Fuzz(func(t *testing.T, frames []byte) {
		p, err := ws.ParsePrepared(frames)
		if err != nil {
			return
		}
		// What is understood says the same when it is encoded again.
		again, err := ws.ParsePrepared(ws.Prepare(p.Messages()...).Wire())
		if err != nil || len(again.Messages()) != len(p.Messages()) {
			t.Fatal(err)
		}
		for i, m := range p.Messages() {
			if n := again.Messages()[i]; m.Type != n.Type || !bytes.Equal(m.Data, n.Data) || m.Uncompressed != n.Uncompressed {
				t.Errorf("message %d: %v became %v", i, m, n)
			}
		}
	})
}
