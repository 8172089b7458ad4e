package loop

import (
	"math"

	"golang.org/x/sys/unix"
)

// spareRoom is for how much more than is awaited the system is asked to make room, in bytes: where
// the rest of the room is no larger than a segment, it takes the socket for full.
const spareRoom = 128 << 10

// AwaitLocked has the loop wait, in place of reading the Conn, until n bytes have come that
// nobody has read, and call the Owner's Awaited then: one wake-up, in however many segments
// they come (SO_RCVLOWAT, socket(7); the system makes room for them). The Conn is paused when
// Awaited is called. Another call before that replaces n.
//
// It is false, and nothing has happened, where the socket cannot do that, which TCP alone can,
// and where the Owner is no Awaiter.
func (c *Conn) AwaitLocked(n int64) bool {
	if _, ok := c.owner.(Awaiter); !ok || c.fd < 0 || c.bits&cut != 0 || n <= 0 || n > math.MaxInt32-spareRoom {
		return false
	}
	if c.bits&awaiting == 0 {
		// The others take the option, and epoll takes no notice.
		if p, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || p != unix.IPPROTO_TCP {
			return false
		}
	}
	if c.bits&awaiting == 0 && unix.SetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, int(n)+spareRoom) != nil ||
		unix.SetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, int(n)) != nil {
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
		_ = unix.SetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, 1)
	}
}

// UnreadLocked is how many bytes have come that nobody has read, or -1.
func (c *Conn) UnreadLocked() int64 {
	if c.fd < 0 {
		return -1
	}
	n, err := unix.IoctlGetInt(int(c.fd), unix.TIOCINQ)
	if err != nil {
		return -1
	}
	return int64(n)
}

// awaited tells the Owner that what it waits for is there, or as much as comes. It is called
// with the lock, and unlocks.
func (c *Conn) awaited() {
	unread := c.UnreadLocked()
	if unread >= 0 && unread < int64(c.mark) && !readable(c.fd) {
		c.mu.Unlock() // the event is older than the wait
		return
	}
	c.StopAwaitLocked()
	c.PauseLocked()
	c.mu.Unlock()
	c.owner.(Awaiter).Awaited(unread)
}

// readable asks the system, which heeds SO_RCVLOWAT.
func readable(fd int32) bool {
	p := []unix.PollFd{{Fd: fd, Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return n > 0 || err != nil
}
