// Package buffer holds whole requests and responses, so that an app is never held up by
// a slow client: [Handler] reads a request before the app is called, and sends the
// response after it has returned.
package buffer

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
)

// InMemory is how many bytes of a body stay in memory. What comes beyond goes to a
// file in the system's temporary folder, which has no name there any more.
const InMemory = 1 << 20

// ErrFull says that a Buffer has taken as many bytes as it may.
var ErrFull = errors.New("buffer: full")

// Buffer takes bytes and gives them back, from memory or from a file. The zero value is
// empty and has no limit. A Buffer has one user at a time, who calls Close in the end.
type Buffer struct {
	Limit int64 // in bytes; 0 is none

	memory *bytes.Buffer
	file   *os.File
	size   int64
}

// pool keeps the memory of small buffers, and large that of larger ones, in which two runs
// of the collector without a use leave nothing: an upload does not cost a mebibyte for ever.
var (
	pool  = sync.Pool{New: func() any { return new(bytes.Buffer) }}
	large = sync.Pool{New: func() any { return bytes.NewBuffer(make([]byte, 0, InMemory)) }}
)

const pooled = 64 << 10

// Size is how many bytes have been written.
func (b *Buffer) Size() int64 { return b.size }

// Write takes all of p, or nothing and an error: [ErrFull], or what the file said.
func (b *Buffer) Write(p []byte) (int, error) {
	if b.Limit > 0 && b.size+int64(len(p)) > b.Limit {
		return 0, ErrFull
	}
	if b.memory == nil {
		b.memory = pool.Get().(*bytes.Buffer)
	}
	if b.file == nil && b.memory.Len()+len(p) > InMemory {
		if err := b.spill(); err != nil {
			return 0, err
		}
	}
	b.size += int64(len(p))
	if b.file != nil {
		return b.file.Write(p)
	}
	return b.memory.Write(p)
}

// Expect says how many bytes are to come, before the first.
func (b *Buffer) Expect(n int64) {
	if b.memory == nil && n > pooled {
		b.memory = large.Get().(*bytes.Buffer)
	}
}

// ReadFrom reads r to its end, into memory without a copy in between. The error is r's,
// or Write's.
func (b *Buffer) ReadFrom(r io.Reader) (int64, error) {
	if b.memory == nil {
		b.memory = pool.Get().(*bytes.Buffer)
	}
	start := b.size
	for b.file == nil && (b.Limit <= 0 || b.size+pooled <= b.Limit) && b.memory.Len() < InMemory {
		if b.memory.Available() == 0 {
			b.memory.Grow(bytes.MinRead)
		}
		p := b.memory.AvailableBuffer()
		n, err := r.Read(p[:min(cap(p), pooled, InMemory-b.memory.Len())])
		b.memory.Write(p[:n]) // where it is already
		b.size += int64(n)
		if err == io.EOF {
			return b.size - start, nil
		}
		if err != nil {
			return b.size - start, err
		}
	}
	_, err := io.Copy(struct{ io.Writer }{b}, r)
	return b.size - start, err
}

// spill opens the file that takes what comes from now on.
func (b *Buffer) spill() error {
	f, err := os.CreateTemp("", "chaussette-")
	if err != nil {
		return err
	}
	if err := os.Remove(f.Name()); err != nil {
		return errors.Join(err, f.Close())
	}
	b.file = f
	return nil
}

// Reader returns a reader of all that has been written, from its start. Writing is over
// when it is called.
func (b *Buffer) Reader() (io.Reader, error) {
	if b.memory == nil {
		return bytes.NewReader(nil), nil
	}
	memory := bytes.NewReader(b.memory.Bytes())
	if b.file == nil {
		return memory, nil
	}
	if _, err := b.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.MultiReader(memory, b.file), nil
}

// Close gives memory and file back.
func (b *Buffer) Close() error {
	if b.memory != nil {
		b.memory.Reset()
		switch size := b.memory.Cap(); {
		case size <= pooled:
			pool.Put(b.memory)
		case size <= 2*InMemory:
			large.Put(b.memory)
		}
	}
	b.memory = nil
	if b.file == nil {
		return nil
	}
	f := b.file
	b.file = nil
	return f.Close()
}
