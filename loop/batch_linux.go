package loop

import "golang.org/x/sys/unix"

// Batch writes to many Conns, with one system call for a good number of them where the
// system can do that. Whoever has one from Group.Batch uses it alone, and releases it.
//
// A Conn that was written to stays locked until the Batch is flushed, which happens before
// it waits for the lock of another.
type Batch struct {
	group   *Group
	ring    *ring // nil: each is written to at once
	tried   bool
	n       int
	conns   [ringSize]*Conn
	bodies  [ringSize][]byte
	results [ringSize]int32
}

// Batch returns a Batch. Only one at a time saves system calls.
func (g *Group) Batch() *Batch {
	if !g.batchMu.TryLock() {
		return &Batch{}
	}
	b := &g.batch
	b.group = g
	if !b.tried && !g.closed.Load() {
		b.tried = true
		b.ring, _ = newRing()
	}
	return b
}

// Lock locks c.
func (b *Batch) Lock(c *Conn) {
	if b.n > 0 {
		if c.mu.TryLock() {
			return
		}
		b.Flush() // whoever has c may wait for one that is locked here
	}
	c.mu.Lock()
}

// WriteLocked writes body, which must never change, to c, and unlocks it then or later.
func (b *Batch) WriteLocked(c *Conn, body []byte) error {
	if b.ring == nil || c.fd < 0 || c.bits&cut != 0 || c.cork != nil || c.rest != nil || len(body) == 0 {
		err := c.WriteLocked(nil, body, true)
		c.mu.Unlock()
		return err
	}
	b.ring.put(b.n, c.fd, body)
	b.conns[b.n], b.bodies[b.n] = c, body
	if b.n++; b.n == ringSize {
		b.Flush()
	}
	return nil
}

// Flush sends what was written, and unlocks those that it was written to.
func (b *Batch) Flush() {
	if b.n == 0 {
		return
	}
	b.ring.submit(b.n, b.results[:])
	for i, c := range b.conns[:b.n] {
		c.sentLocked(int(b.results[i]), b.bodies[i])
		c.mu.Unlock()
	}
	clear(b.conns[:b.n])
	clear(b.bodies[:b.n])
	b.n = 0
}

// sentLocked keeps what is left of body after the system has said result of sending it. As
// always, errors are left for reading to find.
func (c *Conn) sentLocked(result int, body []byte) {
	switch errno := unix.Errno(-result); {
	case result == len(body):
		return
	case result >= 0:
		body = body[result:]
	case errno != unix.EAGAIN && errno != unix.EINTR && errno != unix.ENOBUFS:
		return
	}
	c.queueLocked(nil, body, true)
}

// Release flushes, and gives the Batch back.
func (b *Batch) Release() {
	b.Flush()
	if b.group != nil {
		b.group.batchMu.Unlock()
	}
}

// closeBatch gives the system back what a Batch needs. No Batch is used any more.
func (g *Group) closeBatch() {
	g.batchMu.Lock()
	defer g.batchMu.Unlock()
	g.batch.tried = true
	if g.batch.ring != nil {
		g.batch.ring.close()
		g.batch.ring = nil
	}
}
