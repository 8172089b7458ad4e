package http1

import "time"

// A body that is to be whole before its handler is called is best left where it comes to: the
// system has it, the loop wakes up once for all of it, and it is copied once, to who reads it.

// maxHeld bounds what is read of a body that is held, in bytes: more is not waited for.
const maxHeld = 64 << 10

// reserve takes the body's share of the bytes that may be held at once, and is false where there are
// too many.
func (x *Exchange) reserve() bool {
	s := x.conn.server
	if s.holding.Add(x.left) > s.options.HoldTotal {
		s.holding.Add(-x.left)
		return false
	}
	x.share = x.left
	return true
}

// release gives it back.
func (x *Exchange) release() {
	x.conn.server.holding.Add(-x.share)
	x.share = 0
}

// holdLocked waits for the rest of a body that is held, or calls its handler.
func (x *Exchange) holdLocked() {
	if x.holding == nil {
		return
	}
	c := x.conn
	if x.receiving {
		if x.held = c.io.UnreadLocked() >= x.left; !x.held && len(x.pipe.b) <= maxHeld && c.io.AwaitLocked(x.left) {
			x.pipe.paused = false
			return
		}
	}
	x.letGoLocked()
}

// letGoLocked calls the handler of a body that is held, whole or not.
func (x *Exchange) letGoLocked() {
	w, c := x.holding, x.conn
	if w == nil {
		return
	}
	x.holding = nil
	if !x.held {
		x.release()
	}
	c.io.StopAwaitLocked()
	if x.receiving {
		x.pipe.paused, x.pipe.asked = true, time.Now() // as it is where nobody has asked for more
		c.io.PauseLocked()
		c.io.SetDeadline(c.server.options.Limits.BodyTimeout)
	}
	go w.serve(c.server.options.Handler)
}

// Awaited implements loop.Awaiter.
func (c *conn) Awaited(unread int64) {
	c.io.Lock()
	defer c.io.Unlock()
	x := c.x
	if x == nil || x.holding == nil {
		c.io.ResumeLocked()
		return
	}
	x.pipe.paused = true
	if unread < x.left && !x.makeRoomLocked() {
		x.letGoLocked()
		return
	}
	x.holdLocked()
}

// room is how much is read of a body of which the system takes no more, in bytes: TCP tells the
// client of the room that it has been given when something is read.
const room = 4 << 10

// makeRoomLocked reads a little of a body, and is false where there is nothing to read, or
// somebody else has some of it in hand, which comes first.
func (x *Exchange) makeRoomLocked() bool {
	if c := x.conn; c.bits&feeding != 0 || c.io.ReadingLocked() || c.more != nil {
		return false
	}
	b := make([]byte, min(room, x.left))
	n, err := x.conn.io.ReadLocked(b)
	if n <= 0 || err != nil {
		return false
	}
	x.pipe.b = append(x.pipe.b, b[:n]...)
	x.left -= int64(n)
	x.got += int64(n)
	if x.left == 0 { // the last bytes came just now
		x.pipe.failDoneLocked()
		x.receivedLocked()
	}
	return true
}

// Held says that the body has come whole, and that the system has what has not been read: Read
// does not wait for the client.
func (r *bodyReader) Held() bool { return r.w.x.held }
