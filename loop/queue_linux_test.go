//go:build linux

package loop

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestQueue pushes pieces of all kinds and takes them off at random places.
func TestQueue(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	var q queue
	var want []byte
	shared := bytes.Repeat([]byte("shared "), 1000)
	for i := range 20_000 {
		if rnd.IntN(2) == 0 {
			b := bytes.Repeat([]byte{byte(i)}, rnd.IntN(600)+1)
			share := rnd.IntN(4) == 0
			if share {
				b = shared[:rnd.IntN(len(shared))+1]
			}
			q.push(b, share)
			want = append(want, b...)
			if !share {
				clear(b) // the queue has a copy
			}
			continue
		}
		n := 0
		if len(want) > 0 {
			n = rnd.IntN(len(want) + 1)
		}
		var got []byte
		for _, piece := range q.pieces {
			got = append(got, piece...)
		}
		if !bytes.Equal(got, want) || q.bytes != int64(len(want)) {
			t.Fatalf("step %d: the queue has %d bytes, want %d", i, len(got), len(want))
		}
		q.sent(n)
		want = want[n:]
	}
	// A large piece is not appended to; an empty one after it was never taken off, and the
	// loop sent it for ever.
	q = queue{}
	q.push(make([]byte, 2*pieceSize), false)
	q.push(nil, false)
	q.push(shared, true)
	q.push([]byte{}, true)
	q.sent(2*pieceSize + len(shared))
	if !q.empty() {
		t.Errorf("%d pieces are left of nothing", len(q.pieces))
	}
	if !bytes.HasPrefix(shared, []byte("shared ")) {
		t.Error("what is shared was written to")
	}
}
