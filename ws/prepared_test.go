package ws_test

import (
	"bytes"
	"testing"

	"go.uber.org/goleak"

	"github.com/chaussette/chaussette/ws"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPrepare(t *testing.T) {
	p := ws.Prepare(ws.Message{Type: ws.Text, Data: []byte("Hello")}, ws.Message{Type: ws.Binary, Data: make([]byte, 256)})
	want := append([]byte("\x81\x05Hello\x82\x7e\x01\x00"), make([]byte, 256)...) // RFC 6455, 5.7
	if got := p.Frames(nil); !bytes.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if m := p.Messages(); len(m) != 2 || string(m[0].Data) != "Hello" {
		t.Errorf("messages %v", m)
	}
	takesOver := &ws.DeflateParams{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15, Level: 1}
	if got := p.Frames(takesOver); !bytes.Equal(got, want) {
		t.Error("a connection with a context gets what was compressed without one")
	}
	alone := *takesOver
	alone.ServerNoContextTakeover = true
	packed := p.Frames(&alone)
	if len(packed) >= len(want) || packed[0] != 0x81 { // "Hello" is shorter as it is
		t.Errorf("compressed: %q", packed)
	}
	if again := p.Frames(&alone); &again[0] != &packed[0] {
		t.Error("compressed twice")
	}
}

// What is not to be compressed is not, also beside what is.
func TestPrepareUncompressed(t *testing.T) {
	d := &ws.DeflateParams{ServerNoContextTakeover: true, ServerMaxWindowBits: 15, ClientMaxWindowBits: 15, Level: 1}
	zeros := make([]byte, 256)
	secret := ws.Message{Type: ws.Binary, Data: zeros, Uncompressed: true}
	plain := append([]byte("\x82\x7e\x01\x00"), zeros...)
	if got := ws.Prepare(secret, secret).Frames(d); !bytes.Equal(got, append(bytes.Clone(plain), plain...)) {
		t.Errorf("two that are not: %q", got)
	}
	p := ws.Prepare(secret, ws.Message{Type: ws.Binary, Data: zeros})
	if got := p.Frames(d); !bytes.HasPrefix(got, plain) || len(got) > 300 || got[len(plain)] != 0xC2 {
		t.Errorf("one of two: %q", got)
	}
	if m := p.Messages(); !m[0].Uncompressed || m[1].Uncompressed {
		t.Errorf("messages %v", m)
	}
}

func TestCutReason(t *testing.T) {
	for _, test := range []struct{ reason, want string }{
		{"short", "short"},
		{"a\xffb", "a\ufffdb"},
		{string(bytes.Repeat([]byte("é"), 70)), string(bytes.Repeat([]byte("é"), 61))},
	} {
		if got := ws.CutReason(test.reason); got != test.want {
			t.Errorf("%q is cut to %q", test.reason, got)
		}
	}
}
