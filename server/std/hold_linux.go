package std

import (
	"net/http"
	"syscall"
	"time"

	"github.com/chaussette/chaussette/internal/lowat"
)

// A body that is to be whole before its app is called is best left where it comes to: the
// system has it, the goroutine that waits wakes up once for all of it, and it is copied
// once, to who reads it.

const (
	// minHeld is the shortest body for which that is worth its while, in bytes, and the most that
	// is read of one that is held: more is not waited for.
	minHeld = 64 << 10
	// room is how much is read of a body of which the system takes no more, in bytes: TCP tells the
	// client of the room that it has been given when something is read.
	room = lendable
)

// hold waits until the body has come whole, if it is no longer than limit, and leaves what it can
// of it with the system. Where the body does not come whole in time it is read as any.
func (b *body) hold(r *http.Request, limit int64) {
	if r.ContentLength <= minHeld || r.ContentLength > limit {
		return
	}
	c := connOf(r)
	if c == nil {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil || !mayWait(raw) {
		return
	}
	e := c.engine
	if b.share = r.ContentLength; e.holding.Add(b.share) > e.holdAll {
		b.release()
		return
	}
	defer func() {
		if !b.held {
			b.release()
		}
	}()
	until := time.Now().Add(e.limits.HoldTime())
	for len(b.early) <= minHeld {
		// What net/http has of it comes first. Where that is nothing, this asks the client for
		// the body, if it waits for that.
		p := make([]byte, room)
		n, err := b.readOn(p)
		b.early = append(b.early, p[:n]...)
		left := r.ContentLength - b.taken
		if err != nil {
			return
		}
		if left <= 0 {
			break
		}
		b.setDeadline(until)
		unread := await(raw, left)
		if unread >= left {
			b.held = true
			break
		}
		if unread <= 0 || !time.Now().Before(until) {
			break
		}
	}
	b.setDeadline(e.until(b.timeout))
}

// Held says that the body has come whole, and that the system has what has not been read: Read
// does not wait for the client.
func (b *body) Held() bool { return b.held }

// mayWait says that await works on the socket.
func mayWait(raw syscall.RawConn) bool {
	may := false
	_ = raw.Control(func(fd uintptr) { may = lowat.Heeded(int(fd)) })
	return may
}

// await waits until n bytes have come that nobody has read, or no more come before some are
// read, or the deadline is over. It returns how many there are.
func await(raw syscall.RawConn, n int64) (unread int64) {
	marked := false
	look := func(fd uintptr) bool {
		if unread = lowat.Unread(int(fd)); unread >= n || unread < 0 {
			return true
		}
		if !marked {
			marked = true
			if lowat.Set(int(fd), int(n)) != nil {
				return true
			}
		}
		// Go's poller is told of what has happened, not of what is.
		return lowat.Readable(int(fd))
	}
	err := raw.Read(look)
	_ = raw.Control(func(fd uintptr) {
		if marked {
			lowat.Clear(int(fd))
		}
		if err != nil || unread < n {
			unread = lowat.Unread(int(fd))
		}
	})
	return unread
}
