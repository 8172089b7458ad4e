//go:build linux

package http1

import (
	"bytes"
	"strings"
	"testing"
)

// decode takes wire apart, in pieces of n bytes.
func decode(t *testing.T, d *chunks, wire string, n int) (data []byte) {
	t.Helper()
	for len(wire) > 0 && !d.done() {
		piece := []byte(wire[:min(n, len(wire))])
		wire = wire[len(piece):]
		for len(piece) > 0 && !d.done() {
			part, used, err := d.next(piece)
			if err != nil {
				t.Fatalf("%q: %v", piece, err)
			}
			data, piece = append(data, part...), piece[used:]
		}
	}
	return data
}

// Wherever a body in chunks is cut, what was taken apart goes on as chunks with the rest.
func TestChunksAgain(t *testing.T) {
	const wire = "5\r\nhello\r\n1a;name=value\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n"
	want := "hello" + "abcdefghijklmnopqrstuvwxyz"
	for cut := range len(wire) {
		var first, second chunks
		data := decode(t, &first, wire[:cut], 7)
		moved := string(first.again(bytes.Clone(data))) + wire[cut:]
		if got := decode(t, &second, moved, 3); string(got) != want || !second.done() {
			t.Errorf("cut at %d: %q gives %q, done: %v", cut, moved, got, second.done())
		}
	}
}

// FuzzChunks: no panic, and the same data however the bytes come.
func FuzzChunks(f *testing.F) {
	for _, seed := range []string{"5\r\nhello\r\n0\r\n\r\n", "0\r\n\r\n", "5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n", "ffffffffffffffff\r\n", "-1\r\n", "5\nhello", "7fffffffffffffff\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, wire string) {
		run := func(n int) (string, bool, bool) {
			var d chunks
			var data strings.Builder
			for at := 0; at < len(wire) && !d.done(); {
				piece := []byte(wire[at:min(at+n, len(wire))])
				at += len(piece)
				for len(piece) > 0 && !d.done() {
					part, used, err := d.next(piece)
					if err != nil {
						return data.String(), false, true
					}
					if used == 0 {
						t.Fatalf("nothing of %q is used", piece)
					}
					data.Write(part)
					piece = piece[used:]
				}
			}
			return data.String(), d.done(), false
		}
		whole, done, failed := run(len(wire) + 1)
		for _, n := range []int{1, 3} {
			if got, gotDone, gotFailed := run(n); got != whole || gotDone != done || gotFailed != failed {
				t.Errorf("by %d: %q %v %v, in one: %q %v %v", n, got, gotDone, gotFailed, whole, done, failed)
			}
		}
	})
}
