package python

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// link is the worker's end of the pipe. What comes goes to child.receive, one call at a time.
type link interface {
	// start begins to read.
	start()
	// wait returns when the pipe has ended after start: nil when the child has closed it, or
	// was too late in doing so.
	wait() error
	// write sends b, which it does not keep: what goes at once, and the rest later. It does
	// not block. Calls come one at a time.
	write(b []byte)
	// endBy bounds how long it is read.
	endBy(limit time.Time)
	// close closes a pipe that is not started.
	close()
}

// streamLink is a link by Go's own poller: one goroutine reads, and one writes what does not
// go at once.
type streamLink struct {
	child *child
	conn  *net.UnixConn
	raw   syscall.RawConn

	full  chan struct{} // has a value when something waits
	ended chan struct{} // closed when nothing more is read
	pumps sync.WaitGroup
	err   error // what ended reading

	mu      sync.Mutex // guards what follows
	waiting []byte     // what the socket did not take
	writing bool       // waiting is being written
}

// newStreamLink makes a link of fd, which it owns, also after an error.
func newStreamLink(c *child, fd int) (link, error) {
	file := os.NewFile(uintptr(fd), "pipe")
	conn, err := net.FileConn(file)
	_ = file.Close()
	if err != nil {
		return nil, err
	}
	l := &streamLink{child: c, conn: conn.(*net.UnixConn), full: make(chan struct{}, 1), ended: make(chan struct{})}
	if l.raw, err = l.conn.SyscallConn(); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *streamLink) start() {
	l.pumps.Go(l.writeWaiting)
	l.pumps.Go(func() {
		l.err = l.read()
		close(l.ended)
		_ = l.conn.Close() // which ends a write as well
	})
}

func (l *streamLink) wait() error {
	l.pumps.Wait()
	if errors.Is(l.err, io.EOF) || errors.Is(l.err, os.ErrDeadlineExceeded) || errors.Is(l.err, unix.ECONNRESET) {
		return nil
	}
	return l.err
}

func (l *streamLink) read() error {
	buf := make([]byte, 64<<10)
	for {
		n, err := l.conn.Read(buf)
		if err != nil {
			return err
		}
		if err := l.child.receive(buf[:n]); err != nil {
			return err
		}
	}
}

func (l *streamLink) write(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.writing {
		n, err := l.tryWrite(b)
		if err != nil || n == len(b) {
			return // the reader notices an error
		}
		b, l.writing = b[n:], true
		l.full <- struct{}{}
	}
	l.waiting = append(l.waiting, b...)
}

// tryWrite writes as much as goes without waiting.
func (l *streamLink) tryWrite(b []byte) (n int, err error) {
	rawErr := l.raw.Write(func(fd uintptr) bool {
		for n < len(b) {
			var m int
			m, err = unix.Write(int(fd), b[n:])
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				break
			}
			n += m
		}
		if err == unix.EAGAIN {
			err = nil
		}
		return true
	})
	return n, errors.Join(rawErr, err)
}

// writeWaiting finishes what write began.
func (l *streamLink) writeWaiting() {
	for {
		select {
		case <-l.full:
		case <-l.ended:
			return
		}
		for {
			l.mu.Lock()
			b := l.waiting
			l.waiting, l.writing = nil, len(b) > 0
			l.mu.Unlock()
			if len(b) == 0 {
				break
			}
			if _, err := l.conn.Write(b); err != nil {
				return
			}
		}
	}
}

func (l *streamLink) endBy(limit time.Time) { _ = l.conn.SetReadDeadline(limit) }

func (l *streamLink) close() { _ = l.conn.Close() }
