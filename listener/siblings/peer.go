package siblings

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// peer is a sibling from the moment it joins until it leaves. One that comes back is
// another peer.
type peer struct {
	siblings *Siblings
	tag      Tag
	pid      int
	since    time.Time
	tasks    sync.WaitGroup // who reads and writes
	met      chan struct{}  // closed when the watchers know of it
	gone     chan struct{}  // closed when it has left, and the watchers were told

	mu      sync.Mutex // guards what follows
	conns   []*net.UnixConn
	queue   []item
	size    int
	unsent  []item        // with descriptors, of one that has been dropped
	writing bool          // what was taken from the queue is not all sent
	more    chan struct{} // holds a value when the queue is not empty
	done    chan struct{} // closed when it is dropped
	reason  error         // of that
	idle    chan struct{} // closed by the writer when nothing is left to send; of flush
}

// item is one frame to send, with a descriptor or -1. The frame may be shared.
type item struct {
	frame []byte
	fd    int
}

var (
	errSlow    = errors.New("it takes nothing, and too much waits for it")
	errClosing = errors.New("this worker leaves")
)

func newPeer(s *Siblings, t Tag, pid int) *peer {
	return &peer{siblings: s, tag: t, pid: pid, since: time.Now(), met: make(chan struct{}), gone: make(chan struct{}),
		more: make(chan struct{}, 1), done: make(chan struct{})}
}

func (p *peer) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// push queues i, whose descriptor is the peer's if there is no error.
func (p *peer) push(i item) error {
	p.mu.Lock()
	if p.reason != nil {
		p.mu.Unlock()
		return ErrGone
	}
	if p.size > 0 && p.size+len(i.frame) > p.siblings.options.MaxQueue {
		p.mu.Unlock()
		p.drop(errSlow)
		return ErrGone
	}
	p.queue = append(p.queue, i)
	p.size += len(i.frame)
	p.mu.Unlock()
	select {
	case p.more <- struct{}{}:
	default:
	}
	return nil
}

// drop ends the peer, once. Its connections are not closed, but shut down: what the sibling
// has sent is read to the end, by those who read, since there may be descriptors in it.
func (p *peer) drop(reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason != nil {
		return
	}
	p.reason = reason
	close(p.done)
	for _, c := range p.conns {
		_ = c.CloseWrite()
		_ = c.CloseRead()
	}
	p.keepLocked(p.queue)
	p.queue, p.size = nil, 0
	if p.idle != nil && !p.writing {
		close(p.idle)
		p.idle = nil
	}
}

// keepLocked remembers what has not been sent and has descriptors. mu is held.
func (p *peer) keepLocked(items []item) {
	for _, i := range items {
		if i.fd >= 0 {
			p.unsent = append(p.unsent, i)
		}
	}
}

// flush waits until what is queued is sent, or late.
func (p *peer) flush(late <-chan time.Time) {
	p.mu.Lock()
	if p.reason != nil || len(p.queue) == 0 && !p.writing {
		p.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	p.idle = idle
	p.mu.Unlock()
	select {
	case <-idle:
	case <-p.done:
	case <-late:
	}
}

// add gives the peer a connection; it is false when it has been dropped meanwhile.
func (p *peer) add(c *net.UnixConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason != nil {
		return false
	}
	p.conns = append(p.conns, c)
	return true
}

// maxBatch bounds the bytes of one write.
const maxBatch = 256 << 10

// write sends what is queued on c, until the peer is dropped.
func (p *peer) write(c *net.UnixConn) {
	var batch []item
	for {
		batch = p.take(batch[:0])
		if len(batch) == 0 {
			select {
			case <-p.more:
				continue
			case <-p.done:
				return
			}
		}
		sent, err := p.send(c, batch)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = errSlow
			}
			p.mu.Lock()
			p.keepLocked(batch[sent:])
			p.mu.Unlock()
			p.drop(err)
		}
		clear(batch)
	}
}

// take moves the head of the queue to batch.
func (p *peer) take(batch []item) []item {
	p.mu.Lock()
	defer p.mu.Unlock()
	size := 0
	for _, i := range p.queue {
		if size > 0 && size+len(i.frame) > maxBatch {
			break
		}
		size += len(i.frame)
		batch = append(batch, i)
	}
	n := len(batch)
	clear(p.queue[:n])
	if p.queue = p.queue[n:]; len(p.queue) == 0 {
		p.queue = nil
	}
	p.size -= size
	if p.writing = n > 0; !p.writing && p.idle != nil {
		close(p.idle)
		p.idle = nil
	}
	return batch
}

// send writes batch, and returns how many items of it are on their way, whose descriptors
// are closed here.
func (p *peer) send(c *net.UnixConn, batch []item) (sent int, err error) {
	_ = c.SetWriteDeadline(time.Now().Add(p.siblings.options.StallTimeout))
	var plain net.Buffers
	for n, i := range batch {
		if i.fd < 0 {
			plain = append(plain, i.frame)
			continue
		}
		if _, err := plain.WriteTo(c); err != nil {
			return n, err
		}
		plain = nil
		written, _, err := c.WriteMsgUnix(i.frame, syscall.UnixRights(i.fd), nil)
		if err != nil {
			return n, err
		}
		closeFD(i.fd)
		if written < len(i.frame) {
			if _, err := c.Write(i.frame[written:]); err != nil {
				return n + 1, err
			}
		}
	}
	_, err = plain.WriteTo(c)
	return len(batch), err
}

// read handles what comes on r, until it ends; then the peer is dropped.
func (p *peer) read(r *reader) {
	defer r.conn.Close()
	defer r.close()
	s := p.siblings
	<-p.met
	for {
		k, payload, fd, err := r.next()
		if err != nil {
			p.drop(err)
			return
		}
		var h handler
		if int(k) < len(s.handlers) {
			h = s.handlers[k]
		}
		if fd >= 0 && !h.takes {
			closeFD(fd)
			if h.f != nil {
				p.drop(errDescriptors)
				return
			}
		}
		if h.f == nil {
			continue
		}
		h.f(Message{From: p.tag, Payload: payload, FD: fd})
	}
}

// bury waits for the end of p, tells of it, and looks for it to come back.
func (s *Siblings) bury(p *peer) {
	<-p.done
	p.tasks.Wait()
	s.mu.Lock()
	delete(s.peers, p.tag)
	s.away[p.tag] = true // until it is known not to come back
	closed := s.closed
	s.mu.Unlock()
	theirs := errors.Is(p.reason, errEnded) || errors.Is(p.reason, syscall.ECONNRESET) || errors.Is(p.reason, syscall.EPIPE)
	switch {
	case closed:
	case theirs:
		s.log.Info("a sibling has left", "sibling", p.tag, "pid", p.pid)
	default:
		s.log.Warn("a sibling is dropped; it may come back", "sibling", p.tag, "pid", p.pid, "reason", p.reason)
	}
	s.tell(p.tag, false)
	close(p.gone)
	p.mu.Lock() // whoever drops it may still be at it
	unsent := p.unsent
	p.mu.Unlock()
	for _, i := range unsent {
		s.giveBack(p.tag, i)
	}
	if closed {
		return
	}
	// Who finds a connection closed by the other side was dropped, or has lost it: it is
	// the one to come back at once.
	wait := retry
	if theirs && time.Since(p.since) > retry {
		wait = 0
	}
	s.dial(p.tag, wait, nil)
}

// giveBack has a descriptor go on where it came from.
func (s *Siblings) giveBack(to Tag, i item) {
	if back := s.handlers[i.frame[4]].back; back != nil {
		back(to, i.frame[headerSize:], i.fd)
		return
	}
	closeFD(i.fd)
}

// retry is how long it takes at first until a sibling is tried again, and maxRetry the
// longest time.
const (
	retry    = 500 * time.Millisecond
	maxRetry = 8 * time.Second
)
