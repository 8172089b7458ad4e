package python

import (
	"encoding/binary"
	"errors"
	"math"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A connection is lent to the child for the time of a body, so that a large one is copied
// once, by the kernel, as in a server that holds the connection itself. The child gets a
// descriptor of its own; it never waits on it for the other end where it writes, but
// passes what does not fit on to the worker, who waits.

// ErrNotLent says that the child did not come to have the connection: the body goes
// through the pipe.
var ErrNotLent = errors.New("python: the connection cannot be lent")

// Lending says how the child is to write on a connection.
type Lending struct {
	// Head goes before the body, with the same write.
	Head []byte
	// Chunked has the child frame what it writes as chunks (RFC 9112, 7.1). The last
	// chunk, of no length, is the sink's, after End.
	Chunked bool
}

// Flags of the frames by which a connection is lent.
const (
	lendGranted  = 1 << iota // the descriptor is on the other socket pair
	lendChunked              // Lending.Chunked
	lendToTheEnd             // what is lent to be read is all that is left of the body
)

// Lend gives the child fd, a client's connection, to write the response's body on. It
// answers an Answer whose Ask is set, in Start or later; the other answer is Keep. fd is
// a non-blocking stream socket, and stays the caller's, who must not write on it before
// Data says what with: bytes that go out as they are. Sent tells, after End, what the
// child has written itself. An error means that the connection stays here, as after Keep;
// the head and the framing are the caller's then.
func (c *Call) Lend(fd int, l *Lending) error {
	if l == nil {
		l = new(Lending)
	}
	flags := uint32(lendGranted)
	if l.Chunked {
		flags |= lendChunked
	}
	c.child.mu.Lock()
	defer c.child.mu.Unlock()
	if c.final || c.aborted {
		return net.ErrClosed
	}
	if err := c.child.passLocked(fd); err != nil {
		c.child.frameLocked(kindLend, c.id, make([]byte, 4))
		return err
	}
	c.lent = true
	c.child.frameLocked(kindLend, c.id, append(binary.LittleEndian.AppendUint32(nil, flags), l.Head...))
	return nil
}

// Keep tells the child that it is not lent the connection: its response comes in parts, by
// Data.
func (c *Call) Keep() {
	c.child.mu.Lock()
	defer c.child.mu.Unlock()
	if !c.final && !c.aborted {
		c.child.frameLocked(kindLend, c.id, make([]byte, 4))
	}
}

// Sent is how many bytes of the response the child has written itself, framing and head
// included, and how many the app made, after Lend; -1 where there is no such response.
// Call it after End.
func (c *Call) Sent() (written, made int64) {
	c.child.mu.Lock()
	defer c.child.mu.Unlock()
	if !c.lent {
		return 0, -1
	}
	return c.written, c.made
}

// LendBody gives the child fd, a client's connection, to read the next limit bytes of the
// request's body from, behind first, which has been read already. It is called after the
// first Credit, and not while the connection is lent; toTheEnd says that the body ends
// with the limit, and CloseSend is not called then. Nobody else may read from fd until
// Taken says how many bytes the child has read. A client that sends nothing for patience
// ends the lending with os.ErrDeadlineExceeded; 0 has no bound.
//
// An error means that the body goes by Send, first included.
func (c *Call) LendBody(fd int, first []byte, limit int64, toTheEnd bool, patience time.Duration) error {
	flags := uint32(lendGranted)
	if toTheEnd {
		flags |= lendToTheEnd
	}
	ms := min((patience+time.Millisecond-1)/time.Millisecond, math.MaxInt32)
	c.child.mu.Lock()
	defer c.child.mu.Unlock()
	if c.final || c.aborted || !c.mayLend {
		return ErrNotLent
	}
	if err := c.child.passLocked(fd); err != nil {
		return err
	}
	b := binary.LittleEndian.AppendUint32(nil, flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(ms))
	b = binary.LittleEndian.AppendUint64(b, uint64(limit))
	c.child.frameLocked(kindLendBody, c.id, append(b, first...))
	return nil
}

// A server that can lend a connection has a ResponseWriter and a Body with these methods;
// see server/std.
type (
	responseLender interface {
		// SendBy has send write head, and the body, whose length is declared. send returns
		// how long the body was. The error is http.ErrNotSupported where send was not called.
		SendBy(send func(c net.Conn, head []byte) (int64, error)) (int64, error)
	}
	bodyLender interface {
		// ReadBy has read take limit bytes from the connection. The error is
		// http.ErrNotSupported where read was not called; after a Read it may be.
		ReadBy(read func(c net.Conn, limit int64, toTheEnd bool, patience time.Duration) (int64, error)) (int64, error)
	}
)

// control calls f with the descriptor of c.
func control(c net.Conn, f func(fd int)) error {
	s, ok := c.(syscall.Conn)
	if !ok {
		return ErrNotLent
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) })
}

// lend has the child write the response's body on the connection. false: the body comes in
// parts; otherwise the response is over.
func (x *exchange) lend(declared int64, bodiless bool) bool {
	to, ok := x.w.(responseLender)
	if !ok || bodiless || declared < 0 || x.upload != nil && !x.upload.complete() {
		x.call.Keep()
		return false
	}
	var end error
	over := false
	sent, err := to.SendBy(func(c net.Conn, head []byte) (int64, error) {
		lendErr := ErrNotLent
		if err := control(c, func(fd int) { lendErr = x.call.Lend(fd, &Lending{Head: head}) }); err != nil {
			x.call.Keep()
		}
		if lendErr != nil {
			if _, err := c.Write(head); err != nil {
				return 0, err
			}
			head = nil
		}
		sent, ended, err := x.relay(c)
		if ended != nil {
			over, end = true, *ended
		}
		written, made := x.call.Sent()
		if lendErr != nil {
			made = sent
		}
		if over && end == nil && made != declared {
			x.mismatch(declared, made)
		}
		return max(sent+written-int64(len(head)), 0), err
	})
	switch {
	case errors.Is(err, http.ErrNotSupported):
		x.call.Keep()
		return false
	case err != nil || !over: // the client has gone; discard does the rest
	case end != nil || sent < declared:
		x.cut(nil)
	}
	return true
}

// relay writes what the child did not get rid of, until the response ends, by *ended, or
// the client leaves.
func (x *exchange) relay(c net.Conn) (sent int64, ended *error, err error) {
	for {
		x.mu.Lock()
		chunks, over, end := x.chunks, x.ended, x.err
		x.chunks = nil
		x.mu.Unlock()
		for i, chunk := range chunks {
			n, err := chunk.writeTo(plainWriter{c})
			chunk.Release()
			sent += int64(n)
			if err != nil {
				x.mu.Lock()
				x.chunks = append(chunks[i+1:], x.chunks...)
				x.mu.Unlock()
				return sent, nil, err
			}
		}
		switch {
		case len(chunks) > 0:
			continue
		case over:
			return sent, &end, nil
		}
		select {
		case <-x.wake:
		case <-x.r.Context().Done():
			return sent, nil, x.r.Context().Err()
		}
	}
}

func (u *upload) setLast(n int64) {
	u.mu.Lock()
	u.last = n
	u.mu.Unlock()
}

// lend has the child read what is left of the body on the connection, behind first.
// http.ErrNotSupported: the body goes by the pipe, first included.
func (u *upload) lend(first []byte) (int64, error) {
	refused, finished := false, false
	n, err := u.lender.ReadBy(func(c net.Conn, limit int64, toTheEnd bool, patience time.Duration) (int64, error) {
		lendErr := ErrNotLent
		if toTheEnd {
			u.setLast(limit)
		}
		if err := control(c, func(fd int) { lendErr = u.call.LendBody(fd, first, limit, toTheEnd, patience) }); err != nil || lendErr != nil {
			refused = true
			u.setLast(-1)
			return 0, nil
		}
		back := func(t taken) (int64, error) {
			if t.err == ErrNotLent {
				u.setLast(-1)
				t.err = nil
			}
			finished = t.err == nil && t.n < limit
			return t.n, t.err
		}
		select {
		case t := <-u.taken:
			return back(t)
		case <-u.ended:
		}
		select {
		case t := <-u.taken: // it came before the end
			return back(t)
		default:
		}
		// The child may be waiting for the client.
		_ = control(c, func(fd int) { _ = unix.Shutdown(fd, unix.SHUT_RD) })
		return 0, net.ErrClosed
	})
	if refused {
		err = http.ErrNotSupported
	}
	if finished {
		u.lender = nil // the app has returned: there is nobody to lend it to, and to get it back from
	}
	return n, err
}

// passLocked sends fd on its way to the child, on a socket pair of its own, with one byte.
// The frame that says what it is for follows on the pipe, in the same order.
func (c *child) passLocked(fd int) error {
	if c.closed || c.lends < 0 {
		return ErrNotLent
	}
	// More than some hundreds on their way are refused by the system.
	for {
		err := unix.Sendmsg(c.lends, []byte{0}, unix.UnixRights(fd), nil, unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return err
		}
	}
}

// passFileLocked is passLocked for a file that has a request's body.
func (c *child) passFileLocked(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	passErr := ErrNotLent
	if err := raw.Control(func(fd uintptr) { passErr = c.passLocked(int(fd)) }); err != nil {
		return err
	}
	if passErr != nil {
		return ErrNotLent // as many are on their way as the system allows
	}
	return nil
}

// receivedFile takes the descriptor that the child has sent before a frame; nil where it did
// not come through.
func (c *child) receivedFile() *os.File {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lends < 0 {
		return nil
	}
	var one [1]byte
	var oob [64]byte         // unix.CmsgSpace(4) is 24
	syscall.ForkLock.RLock() // no process that is started now inherits it
	defer syscall.ForkLock.RUnlock()
	_, n, _, _, err := unix.Recvmsg(c.lends, one[:], oob[:], unix.MSG_DONTWAIT)
	for err == unix.EINTR {
		_, n, _, _, err = unix.Recvmsg(c.lends, one[:], oob[:], unix.MSG_DONTWAIT)
	}
	if err != nil {
		return nil
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return nil
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "file of the app")
}
