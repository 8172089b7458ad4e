package deflate_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/ws/internal/deflate"
)

func TestTakeover(t *testing.T) {
	for _, bits := range []int{8, 9, 12, 15} {
		for _, level := range []int{1, 5, 9} {
			var sent, received []byte
			sizes := []int{}
			for i := range 20 {
				message := []byte(strings.Repeat("the same again, ", i*i*3+1))
				var window []byte
				if bits == 15 {
					window = sent
				}
				packed := deflate.Compress(nil, message, level, bits, window)
				sizes = append(sizes, len(packed))
				got, err := deflate.Decompress(nil, packed, 0, received)
				if err != nil || !bytes.Equal(got, message) {
					t.Fatalf("%d bits, level %d, message %d: %v", bits, level, i, err)
				}
				if bits == 15 {
					sent, received = deflate.Slide(sent, message, bits), deflate.Slide(received, got, bits)
				}
			}
			if bits == 15 && sizes[3] >= 20 {
				t.Errorf("level %d: the context is not used: %v", level, sizes)
			}
		}
	}
}

func TestLimit(t *testing.T) {
	packed := deflate.Compress(nil, make([]byte, 1<<20), 1, 15, nil)
	if _, err := deflate.Decompress(nil, packed, 1<<20, nil); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if got, err := deflate.Decompress(nil, packed, 1<<20-1, nil); !errors.Is(err, deflate.ErrTooBig) || len(got) > 3<<20 {
		t.Errorf("past the limit: %d bytes, %v", len(got), err)
	}
}

func FuzzDecompress(f *testing.F) {
	f.Add([]byte("\xf2\x48\xcd\xc9\xc9\x07\x00"), []byte("")) // "Hello" (RFC 7692, 7.2.3.1)
	f.Add([]byte("\xf2\x00\x11\x00\x00"), []byte("Hello"))    // with the context (7.2.3.2)
	f.Add([]byte("\x00"), []byte(""))
	f.Fuzz(func(t *testing.T, p, window []byte) {
		const limit = 1 << 16
		got, err := deflate.Decompress(nil, p, limit, window)
		if err != nil {
			return
		}
		if len(got) > limit {
			t.Fatalf("%d bytes", len(got))
		}
		again, err := deflate.Decompress(nil, deflate.Compress(nil, got, 1, 15, window), limit, window)
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%q does not survive: %v", got, err)
		}
	})
}

func FuzzSlide(f *testing.F) {
	f.Add([]byte("abc"), []byte("def"), 8)
	f.Fuzz(func(t *testing.T, window, p []byte, bits int) {
		bits = min(max(bits, 0), 15)
		all := append(bytes.Clone(window), p...)
		want := all[max(len(all)-1<<bits, 0):]
		if got := deflate.Slide(bytes.Clone(window), p, bits); !bytes.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}
