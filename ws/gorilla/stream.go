package gorilla

import (
	"crypto/tls"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stream is the net.Conn that the library has. Its writes never block: what the socket
// does not take at once is queued, and a goroutine that lives as long as the queue sends
// it. The write side is guarded by the conn's mutex, the read side by who reads.
type stream struct {
	net.Conn
	owner *conn

	guard   guard
	early   []byte // read with the handshake
	readErr error  // of the network

	raw  syscall.RawConn // nil if the connection has no descriptor of its own
	try  func(fd uintptr) bool
	now  [2][]byte // what try writes
	left int       // bytes of it that try has not written

	mute     bool   // what is written goes nowhere
	holding  bool   // the next write is sent together with the one after it
	held     []byte // and this is it
	queue    [][]byte
	bytes    int64 // of the queue
	draining bool  // the goroutine runs
	halved   bool  // to be shut down for writing when all is sent
	finished bool  // to be closed when all is sent
}

func (s *stream) init(nc net.Conn, buffered []byte, owner *conn) {
	s.Conn, s.owner = nc, owner
	if len(buffered) > 0 {
		s.early = append([]byte(nil), buffered...)
	}
	if _, encrypts := nc.(*tls.Conn); encrypts {
		return
	}
	if c, ok := nc.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			s.raw, s.try = raw, s.tryFD
		}
	}
}

// Read is for the library: what it returns has passed the guard.
func (s *stream) Read(p []byte) (int, error) {
	for {
		if s.guard.end != nil {
			return 0, s.guard.end
		}
		n, err := s.readRaw(p)
		if err != nil {
			s.readErr = err
			return 0, err
		}
		good, end := s.guard.look(p[:n])
		if good > 0 {
			return good, nil // the end, if there is one, comes with the next call
		}
		if end != nil {
			return 0, end
		}
	}
}

func (s *stream) readRaw(p []byte) (int, error) {
	if len(s.early) > 0 {
		n := copy(p, s.early)
		s.early = s.early[n:]
		return n, nil
	}
	s.owner.waiting.Store(true)
	n, err := s.Conn.Read(p)
	s.owner.waiting.Store(false)
	if n > 0 {
		s.owner.lastRead.Store(time.Since(s.owner.engine.start).Milliseconds())
		return n, nil
	}
	return n, err
}

// Write is for the library, with the conn locked. Errors are left for reading to find.
func (s *stream) Write(p []byte) (int, error) {
	switch {
	case s.mute:
	case s.holding:
		s.holding, s.held = false, p
	default:
		head := s.held
		s.held = nil
		s.write(head, p, false)
	}
	return len(p), nil
}

// write sends head and p, and queues what the socket does not take. Neither is kept,
// unless p is shared: then it must never change.
func (s *stream) write(head, p []byte, shared bool) {
	if s.raw != nil && len(s.queue) == 0 && !s.draining {
		s.now, s.left = [2][]byte{head, p}, len(head)+len(p)
		err := s.raw.Write(s.try)
		s.now = [2][]byte{}
		if err != nil || s.left == 0 {
			return
		}
		taken := len(head) + len(p) - s.left
		skipped := min(taken, len(head))
		head, p = head[skipped:], p[taken-skipped:]
	}
	s.push(head, false)
	s.push(p, shared)
}

// tryFD writes once. It always reports that it is done, so that nobody waits.
func (s *stream) tryFD(fd uintptr) bool {
	var n int
	var err error
	switch {
	case len(s.now[0]) == 0:
		n, err = unix.Write(int(fd), s.now[1])
	case len(s.now[1]) == 0:
		n, err = unix.Write(int(fd), s.now[0])
	default:
		n, err = unix.Writev(int(fd), s.now[:])
	}
	if n > 0 {
		s.left -= n
	}
	if err != nil && err != unix.EAGAIN && err != unix.EINTR {
		s.left = 0
	}
	return true
}

func (s *stream) push(p []byte, shared bool) {
	if len(p) == 0 {
		return
	}
	if !shared {
		p = append([]byte(nil), p...)
	}
	s.queue = append(s.queue, p)
	s.bytes += int64(len(p))
	if !s.draining {
		s.draining = true
		s.owner.engine.tasks.Go(s.drain)
	}
}

// drain sends the queue. It ends when the queue is empty, or the connection closed.
func (s *stream) drain() {
	c := s.owner
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(s.queue) > 0 {
		batch := net.Buffers(s.queue)
		s.queue = nil
		for len(batch) > 0 {
			// In pieces, so that those who wait for room hear of it.
			some := batch[:min(len(batch), 8)]
			batch = batch[len(some):]
			c.mu.Unlock()
			n, err := some.WriteTo(s.Conn)
			c.mu.Lock()
			s.bytes -= n
			if err != nil {
				batch, s.queue, s.bytes = nil, nil, 0
			}
			c.link.SentLocked()
		}
	}
	s.draining = false
	s.drained()
}

// drained does what was to be done when all is sent.
func (s *stream) drained() {
	switch {
	case s.finished:
		s.Conn.Close()
	case s.halved:
		s.closeWrite()
	}
}

// finish closes the connection when all is sent.
func (s *stream) finish() {
	s.finished = true
	if !s.draining {
		s.drained()
	}
}

// halve ends what this side sends when all is sent.
func (s *stream) halve() {
	s.halved = true
	if !s.draining {
		s.drained()
	}
}

func (s *stream) closeWrite() {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
		return
	}
	s.Conn.Close()
}

// SetWriteDeadline does nothing: writes do not block.
func (s *stream) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline does nothing.
func (s *stream) SetDeadline(time.Time) error { return nil }
