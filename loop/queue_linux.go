package loop

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// queue is what a socket has not taken: pieces that are sent in order. Pieces that are
// shared among connections are kept as they are, others are copied into one that is the
// queue's own.
type queue struct {
	pieces [][]byte
	bytes  int64     // of pieces and file
	file   *filePart // comes after the pieces, or nil
	own    bool      // the last piece is the queue's, and may be appended to
}

// filePart is what is left to send of a file.
type filePart struct {
	file   *os.File
	offset int64
	left   int64
}

func (q *queue) empty() bool { return len(q.pieces) == 0 && q.file == nil }

const pieceSize = 16 << 10

func (q *queue) push(b []byte, shared bool) {
	if len(b) == 0 {
		return // writev takes nothing of an empty piece, again and again
	}
	q.bytes += int64(len(b))
	if shared && len(b) > 256 { // a small copy costs less than a piece
		q.pieces = append(q.pieces, b)
		q.own = false
		return
	}
	if q.own {
		last := &q.pieces[len(q.pieces)-1]
		if len(*last)+len(b) <= pieceSize {
			*last = append(*last, b...)
			return
		}
	}
	q.pieces = append(q.pieces, append(make([]byte, 0, max(len(b), 512)), b...))
	q.own = true
}

// sent removes the first n bytes.
func (q *queue) sent(n int) {
	q.bytes -= int64(n)
	gone := 0
	for n > 0 {
		first := &q.pieces[gone]
		if n < len(*first) {
			*first = (*first)[n:]
			break
		}
		n -= len(*first)
		*first = nil
		gone++
	}
	q.pieces = q.pieces[gone:]
	if len(q.pieces) == 0 {
		q.own = false
	}
}

// flush writes as much as the socket takes; an error is not EAGAIN.
func (q *queue) flush(fd int) error {
	const atOnce = 64
	for len(q.pieces) > 0 {
		n, err := unix.Writev(fd, q.pieces[:min(len(q.pieces), atOnce)])
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			return nil
		}
		if err != nil {
			return err
		}
		q.sent(n)
	}
	if q.file == nil {
		return nil
	}
	return q.flushFile(fd)
}

// fileAtOnce bounds what one turn sends of a file, in bytes: others wait meanwhile.
const fileAtOnce = 1 << 20

func (q *queue) flushFile(fd int) error {
	for sent := int64(0); q.file.left > 0 && sent < fileAtOnce; {
		n, err := unix.Sendfile(fd, int(q.file.file.Fd()), &q.file.offset, int(min(q.file.left, fileAtOnce)))
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return nil
		case err != nil:
			return err
		case n == 0:
			return io.ErrUnexpectedEOF
		}
		sent += int64(n)
		q.bytes -= int64(n)
		q.file.left -= int64(n)
	}
	if q.file.left == 0 {
		q.file = nil
	}
	return nil
}
