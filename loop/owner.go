package loop

import (
	"errors"
	"time"
)

// Patience is how long an Owner may keep a loop before another goroutine takes the loop
// over; it happens after one to two times as long.
const Patience = 2 * time.Millisecond

// Owner is whom a Conn belongs to. Its methods are called one at a time for one Conn.
type Owner interface {
	// Data is called with what was read. b belongs to the loop and is used again when
	// Data returns. What the Owner writes meanwhile is sent when Data returns, in one go.
	// It returns false when it wants no more: the Conn is closed as soon as what it has
	// written is sent.
	Data(b []byte) bool
	// Ended is called last, once, when the Conn is closed and takes no more. The error
	// is io.EOF if the peer ended the connection, what CutLocked was given, or what the
	// system said; nil if the Owner wanted it.
	Ended(err error)
	// SentLocked is called when some of what had to wait was sent, with the Conn locked.
	SentLocked()
	// Expire is called when the Conn's deadline has passed, see Conn.SetDeadline; while
	// Data runs, too. It must not block.
	Expire()
}

// HalfCloser may be implemented by an Owner that goes on to write when the peer has ended
// its side of the connection, as one does that has asked for something and waits. PeerEnded is called in the
// place of Ended then, and returns whether the Conn stays: nothing is read from it any
// more, and the Owner closes it. It is called while Data has not returned where LeaveLocked was.
type HalfCloser interface {
	PeerEnded() bool
}

// Awaiter may be implemented by an Owner that calls Conn.AwaitLocked. Awaited is called, in the
// manner of Data, when as many bytes have come as were asked for; or fewer, where no more come
// before some are read: the peer has ended the stream, the connection is broken, or the system
// has no more room. unread is how many there are, or -1.
type Awaiter interface {
	Awaited(unread int64)
}

// Rounder is who wants to be called by Conn.AtRoundEnd. EndRound must not block.
type Rounder interface {
	EndRound()
}

// ErrClosed is the error of what is done to a Conn that is closed.
var ErrClosed = errors.New("loop: connection is closed")
