package siblings

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

const headerSize = 6

// flagFD says that a descriptor comes with the frame.
const flagFD = 1

// newFrame returns a frame with a copy of payload.
func newFrame(k Kind, fd bool, payload ...[]byte) []byte {
	size := sizeOf(payload)
	frame := make([]byte, headerSize, headerSize+size)
	binary.BigEndian.PutUint32(frame, uint32(size))
	frame[4] = byte(k)
	if fd {
		frame[5] = flagFD
	}
	for _, p := range payload {
		frame = append(frame, p...)
	}
	return frame
}

func sizeOf(parts [][]byte) (n int) {
	for _, p := range parts {
		n += len(p)
	}
	return n
}

// Errors of what a sibling sends.
var (
	errOversized   = errors.New("a frame is over the limit")
	errFlags       = errors.New("a frame has flags that nobody knows")
	errDescriptors = errors.New("a descriptor that no frame speaks of, or a frame without its descriptor")
)

// reader takes frames, and the descriptors that come with them, from a connection.
type reader struct {
	conn *net.UnixConn
	max  int
	buf  []byte // what has come and is no whole frame yet is buf[from:to]
	from int
	to   int
	fds  []int
	oob  [128]byte
}

const readSize = 64 << 10

func newReader(c *net.UnixConn, max int) *reader {
	return &reader{conn: c, max: max, buf: make([]byte, readSize)}
}

// next returns the next frame; the payload is the caller's, and the descriptor too, which
// is -1 where there is none.
func (r *reader) next() (k Kind, payload []byte, fd int, err error) {
	for {
		have := r.buf[r.from:r.to]
		if len(have) >= headerSize {
			size, flags := int64(binary.BigEndian.Uint32(have)), have[5]
			switch {
			case size > int64(r.max):
				return 0, nil, -1, fmt.Errorf("%w: %d bytes", errOversized, size)
			case flags&^flagFD != 0:
				return 0, nil, -1, errFlags
			}
			whole := headerSize + int(size)
			if len(have) >= whole {
				return r.take(have[:whole])
			}
			r.room(whole)
		} else {
			r.room(headerSize)
		}
		// A descriptor comes with the first byte of its frame, so no more than the one of
		// an unfinished frame can be here.
		if len(r.fds) > 1 || len(r.fds) == 1 && r.from == r.to {
			return 0, nil, -1, errDescriptors
		}
		if err := r.read(); err != nil {
			return 0, nil, -1, err
		}
	}
}

func (r *reader) take(frame []byte) (Kind, []byte, int, error) {
	fd := -1
	if frame[5]&flagFD != 0 {
		if len(r.fds) == 0 {
			return 0, nil, -1, errDescriptors
		}
		fd, r.fds = r.fds[0], r.fds[1:]
	}
	payload := append([]byte(nil), frame[headerSize:]...)
	r.from += len(frame)
	if r.from == r.to {
		r.from, r.to = 0, 0
		if len(r.buf) > readSize {
			r.buf = make([]byte, readSize)
		}
	}
	return Kind(frame[4]), payload, fd, nil
}

// room makes place for a frame of this size.
func (r *reader) room(size int) {
	if len(r.buf)-r.from >= size && r.to < len(r.buf) {
		return
	}
	old := r.buf[r.from:r.to]
	if size > len(r.buf) {
		r.buf = make([]byte, size)
	}
	r.to = copy(r.buf, old)
	r.from = 0
}

func (r *reader) read() error {
	n, oobn, flags, _, err := r.conn.ReadMsgUnix(r.buf[r.to:], r.oob[:])
	if oobn > 0 {
		if failed := r.takeRights(r.oob[:oobn]); failed != nil {
			return failed
		}
	}
	if errors.Is(err, io.EOF) {
		return errEnded
	}
	if err != nil {
		return err
	}
	if flags&syscall.MSG_CTRUNC != 0 {
		return errDescriptors
	}
	if n == 0 {
		return errEnded
	}
	r.to += n
	return nil
}

// errEnded is the end of the other side.
var errEnded = errors.New("the connection has ended")

func (r *reader) takeRights(oob []byte) error {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return err
	}
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			return err
		}
		r.fds = append(r.fds, fds...)
	}
	return nil
}

// close closes the descriptors that nobody has taken.
func (r *reader) close() {
	for _, fd := range r.fds {
		closeFD(fd)
	}
	r.fds = nil
}
