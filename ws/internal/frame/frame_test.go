package frame_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/internal/frame"
)

// FuzzParse checks that a header is read the same in one piece and byte by byte, that
// what is wrong is found with the first byte that shows it, and that a header which is
// read is the only way to write what it says.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"\x81\x85\x37\xfa\x21\x3d", "\x01\x83abcd", "\x80\x82abcd", "\x89\x85abcd", "\x82\xfe\x01\x00abcd", // RFC 6455, 5.7
		"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00abcd", "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00abcd", "\x82\xfe\x00\x01abcd",
		"\x88\x82abcd", "\x09\x80abcd", "\x83\x80abcd", "\xc1\x80abcd", "\x81\x05Hello",
	} {
		f.Add([]byte(seed), false, false)
		f.Add([]byte(seed), true, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, compression, inMessage bool) {
		rules := frame.Rules{Compression: compression, InMessage: inMessage}
		h, size, err := frame.Parse(b, rules)
		for n := range b {
			part, partSize, partErr := frame.Parse(b[:n], rules)
			switch {
			case partErr != nil && err != partErr:
				t.Fatalf("%q: %v after %d bytes, %v after all", b, partErr, n, err)
			case partSize > 0 && (partSize != size || part != h):
				t.Fatalf("%q: %+v after %d bytes, %+v after all", b, part, n, h)
			}
		}
		if err != nil {
			if _, ok := errors.AsType[ws.ProtocolError](err); !ok {
				t.Fatalf("%q: %v", b, err)
			}
			return
		}
		if size == 0 {
			return
		}
		if h.Length < 0 || h.Opcode.Control() && h.Length > 125 {
			t.Fatalf("%q: length %d", b, h.Length)
		}
		if h.Length > 1<<40 {
			return
		}
		first := byte(h.Opcode)
		if h.Compressed {
			first |= 0x40
		}
		again := ws.AppendHeader(nil, first, int(h.Length))
		if !h.Fin {
			again[0] &^= 0x80
		}
		again[1] |= 0x80
		again = append(again, h.Mask[:]...)
		if !bytes.Equal(again, b[:size]) {
			t.Fatalf("%q is read as %+v, which is written %q", b, h, again)
		}
	})
}

func FuzzParseClose(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("\x03"))
	f.Add([]byte("\x03\xe8bye"))
	f.Add([]byte("\x03\xed"))
	f.Add([]byte("\x03\xe8\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		code, reason, err := frame.ParseClose(b)
		if err != nil {
			return
		}
		if again := frame.AppendClosePayload(nil, code, reason); !bytes.Equal(again, b) {
			t.Fatalf("%q is read as %v %q, which is written %q", b, code, reason, again)
		}
	})
}
