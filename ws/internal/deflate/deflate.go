// Package deflate compresses and decompresses single messages as permessage-deflate has
// them (RFC 7692, 7.2): a raw deflate stream that ends with an empty stored block, whose
// four last bytes do not travel. What a connection takes over from one message to the
// next is a window of plain bytes; all else comes from pools.
package deflate

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// tail is what a sender takes away (RFC 7692, 7.2.1), and a final block, without which
// the reader would miss the stream's end.
const tail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

type writerKey struct{ level, windowBits int }

var (
	writersMu sync.Mutex
	writers   = map[writerKey]*sync.Pool{}
)

func pool(key writerKey) *sync.Pool {
	writersMu.Lock()
	defer writersMu.Unlock()
	p := writers[key]
	if p == nil {
		p = &sync.Pool{New: func() any {
			var w *flate.Writer
			if key.windowBits < 15 {
				w, _ = flate.NewWriterWindow(nil, 1<<key.windowBits)
			} else {
				w, _ = flate.NewWriter(nil, key.level)
			}
			return w
		}}
		writers[key] = p
	}
	return p
}

// Compress appends the compressed message p to b. The window has what was compressed for
// this peer before, if the context is taken over; with fewer than 15 windowBits it must
// be empty. Level is 1 to 9, windowBits 8 to 15.
func Compress(b, p []byte, level, windowBits int, window []byte) []byte {
	if len(p) == 0 {
		return append(b, 0) // an empty block (RFC 7692, 7.2.3.6)
	}
	key := writerKey{level, windowBits}
	if windowBits < 15 {
		key.level = 0 // the writer for small windows has one level
	}
	writers := pool(key)
	w := writers.Get().(*flate.Writer)
	out := bytes.NewBuffer(b)
	if len(window) > 0 {
		w.ResetDict(out, window)
	} else {
		w.ResetDict(out, nil)
	}
	w.Write(p) // a bytes.Buffer has no errors
	w.Flush()
	w.ResetDict(io.Discard, nil) // so that the pool keeps neither b nor the window alive
	writers.Put(w)
	return out.Bytes()[:out.Len()-4]
}

// ErrTooBig is a message that decompresses to more than was allowed.
var ErrTooBig = errors.New("decompressed message is larger than the limit")

var readers = sync.Pool{New: func() any { return flate.NewReader(nil) }}

// Decompress appends the decompressed message p to b, at most limit bytes of it; a limit
// of 0 is none. The window has what this peer compressed before, if it takes its context
// over. The error is ErrTooBig, or says what is wrong with p.
func Decompress(b, p []byte, limit int64, window []byte) ([]byte, error) {
	r := readers.Get().(io.ReadCloser)
	defer readers.Put(r)
	in := io.MultiReader(bytes.NewReader(p), bytes.NewReader([]byte(tail)))
	if err := r.(flate.Resetter).Reset(in, window); err != nil {
		return b, err
	}
	begin := len(b)
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if limit > 0 && int64(len(b)-begin) > limit {
			return b, ErrTooBig
		}
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}

// Slide returns the window after p was compressed or decompressed: the last bytes of both
// together, at most 1<<bits. It reuses window's memory, or keeps none of p's.
func Slide(window, p []byte, bits int) []byte {
	size := 1 << bits
	if len(p) >= size {
		return append(window[:0], p[len(p)-size:]...)
	}
	if over := len(window) + len(p) - size; over > 0 {
		window = append(window[:0], window[over:]...)
	}
	return append(window, p...)
}
