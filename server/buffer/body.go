package buffer

import (
	"errors"
	"io"
	"os"
	"sync"
)

// small is how many bytes of a request's body are kept in the worker's own memory. More goes to
// a file without a name, that another process can be given: one in memory up to InMemory, and
// in the temporary folder beyond.
const small = 64 << 10

var scratches = sync.Pool{New: func() any { return new([small]byte) }}

// body is a request's body that has come whole. It has one user, who calls Close in the end.
type body struct {
	memory  []byte // all of it, where there is no file
	at      int
	file    *os.File
	size    int64
	onDisk  bool
	scratch *[small]byte // memory is in it
}

// receive reads r to its end. expected is its length, or negative. The error is r's, or what
// the file said.
func (b *body) receive(r io.Reader, expected int64) error {
	b.scratch = scratches.Get().(*[small]byte)
	have := 0
	for {
		n, err := r.Read(b.scratch[have:])
		have += n
		b.size += int64(n)
		switch {
		case err == io.EOF:
			return b.end(have)
		case err != nil:
			return err
		case have < small:
			continue
		}
		if err := b.keep(b.scratch[:have], expected); err != nil {
			return err
		}
		have = 0
	}
}

// end keeps what came last.
func (b *body) end(have int) error {
	if b.file == nil {
		b.memory = b.scratch[:have]
		return nil
	}
	if err := b.keep(b.scratch[:have], -1); err != nil {
		return err
	}
	_, err := b.file.Seek(0, io.SeekStart)
	return err
}

// keep writes p to the file.
func (b *body) keep(p []byte, expected int64) error {
	if b.file == nil {
		open := memoryFile
		if b.onDisk = expected > InMemory; b.onDisk {
			open = tempFile
		}
		var err error
		if b.file, err = open(); err != nil {
			return err
		}
	}
	if !b.onDisk && b.size > InMemory {
		if err := b.spill(); err != nil {
			return err
		}
	}
	_, err := b.file.Write(p)
	return err
}

// spill moves the body from memory to the temporary folder.
func (b *body) spill() error {
	file, err := tempFile()
	if err != nil {
		return err
	}
	before := b.file
	defer before.Close()
	b.file, b.onDisk = file, true
	if _, err := before.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(file, before)
	return err
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.file != nil {
		return b.file.Read(p)
	}
	if b.at == len(b.memory) {
		return 0, io.EOF
	}
	n := copy(p, b.memory[b.at:])
	b.at += n
	return n, nil
}

// File is where the body is, from the file's offset on, or nil for one that is in memory. It
// stays b's: who wants it for longer than a request, or in another process, duplicates it. What
// is read of it is read of b.
func (b *body) File() *os.File { return b.file }

// Close forgets the body.
func (b *body) Close() error {
	if b.scratch != nil {
		scratches.Put(b.scratch)
	}
	file := b.file
	*b = body{}
	if file == nil {
		return nil
	}
	return file.Close()
}

// tempFile opens a file in the temporary folder, and takes its name from it.
func tempFile() (*os.File, error) {
	f, err := os.CreateTemp("", "chaussette-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
