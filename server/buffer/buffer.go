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

// pool keeps the memory of small buffers.
var pool = sync.Pool{New: func() any { return new(bytes.Buffer) }}

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

// spill opens the file that takes what comes from now on.
func (b *Buffer) spill() error {
	var err error
	b.file, err = tempFile()
	return err
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
		if b.memory.Cap() <= pooled {
			pool.Put(b.memory)
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
