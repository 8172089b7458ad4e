package loop

import "github.com/chaussette/chaussette/internal/lowat"

// AwaitLocked has the loop wait, in place of reading the Conn, until n bytes have come that
// nobody has read, and call the Owner's Awaited then: one wake-up, in however many segments
// they come (package lowat). The Conn is paused when
// Awaited is called. Another call before that replaces n.
//
// It is false, and nothing has happened, where the socket cannot do that, which TCP alone can,
// and where the Owner is no Awaiter.
func (c *Conn) AwaitLocked(n int64) bool {
	if _, ok := c.owner.(Awaiter); !ok || c.fd < 0 || c.bits&cut != 0 || n <= 0 || n > lowat.Most {
		return false
	}
	if c.bits&awaiting != 0 {
		if lowat.Move(int(c.fd), int(n)) != nil {
			return false
		}
	} else if !lowat.Heeded(int(c.fd)) || lowat.Set(int(c.fd), int(n)) != nil {
		return false
	}
	c.bits |= awaiting
	c.bits &^= paused
	c.mark = uint32(n)
	c.armLocked()
	return true
}

// StopAwaitLocked ends what AwaitLocked has begun: the Conn is read as any. The socket keeps
// the room that it was given.
func (c *Conn) StopAwaitLocked() {
	if c.bits&awaiting == 0 {
		return
	}
	c.bits &^= awaiting
	if c.fd >= 0 {
		lowat.Clear(int(c.fd))
	}
}

// UnreadLocked is how many bytes have come that nobody has read, or -1.
func (c *Conn) UnreadLocked() int64 {
	if c.fd < 0 {
		return -1
	}
	return lowat.Unread(int(c.fd))
}

// awaited tells the Owner that what it waits for is there, or as much as comes. It is called
// with the lock, and unlocks.
func (c *Conn) awaited() {
	unread := c.UnreadLocked()
	if unread >= 0 && unread < int64(c.mark) && !lowat.Readable(int(c.fd)) {
		c.mu.Unlock() // the event is older than the wait
		return
	}
	c.StopAwaitLocked()
	c.PauseLocked()
	c.mu.Unlock()
	c.owner.(Awaiter).Awaited(unread)
}
