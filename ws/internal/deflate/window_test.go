package deflate_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"testing"

	"github.com/chaussette/chaussette/ws/internal/deflate"
)

// inflate is zlib with the window of a peer that has no more: it is given little room for
// what comes out, so that whatever lies further back is in its window, or an error.
const inflate = `
import sys, zlib
z = zlib.decompressobj(-int(sys.argv[1]))
data = sys.stdin.buffer.read() + b'\0\0\xff\xff'
while data:
    sys.stdout.buffer.write(z.decompress(data, 16))
    data = z.unconsumed_tail
sys.stdout.buffer.write(z.flush())
`

// A peer that has asked for a small window (RFC 7692, 7.1.2.1) can do with it: what repeats
// at every distance is referred to within the window alone.
func TestWindowBits(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal("python3 is not installed: make setup does that")
	}
	text := make([]byte, 0, 200_000)
	random := rand.New(rand.NewPCG(1, 2))
	for len(text) < cap(text)-1000 {
		if len(text) > 300 && random.IntN(3) > 0 { // again what was there
			from := len(text) - 1 - random.IntN(min(len(text)-1, 1<<(8+random.IntN(8))))
			text = append(text, text[from:min(from+20+random.IntN(200), len(text))]...)
			continue
		}
		for range 40 {
			text = append(text, byte(random.Uint32()))
		}
	}
	for bits := 8; bits <= 15; bits++ {
		for _, level := range []int{1, 6, 9} {
			t.Run(fmt.Sprintf("%d bits, level %d", bits, level), func(t *testing.T) {
				packed := deflate.Compress(nil, text, level, bits, nil)
				if len(packed) >= len(text) {
					t.Errorf("%d bytes of %d", len(packed), len(text))
				}
				cmd := exec.Command(python, "-c", inflate, fmt.Sprint(bits))
				cmd.Stdin = bytes.NewReader(packed)
				var out, complaint bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &complaint
				if err := cmd.Run(); err != nil || !bytes.Equal(out.Bytes(), text) {
					t.Errorf("%d bytes, want %d: %v %s", out.Len(), len(text), err, complaint.String())
				}
			})
		}
	}
}
