// Package limits says what a worker takes from its clients before it refuses. Each
// limit shows when it bites: a status to the client, a line in the log.
package limits

import "time"

// Limits are the bounds on HTTP. In each field zero means the default and a negative
// number means no limit; [Limits.WithDefaults] replaces both by what they mean.
type Limits struct {
	// HeaderSize bounds a request's line and headers, in bytes. Beyond it: 431.
	HeaderSize int
	// HeaderTimeout bounds the time from a request's first byte (or from the opening of
	// the connection) to the end of its headers. Beyond it: 408, and the connection ends.
	HeaderTimeout time.Duration
	// BodySize bounds a request's body, in bytes. Beyond it: 413.
	BodySize int64
	// BodyTimeout bounds how long a body may make no progress. Beyond it: 408.
	BodyTimeout time.Duration
	// SendTimeout bounds how long a client may take nothing of what is sent to it. Beyond
	// it the connection is reset. It applies to TCP on Linux.
	SendTimeout time.Duration
	// IdleTimeout bounds how long a connection may wait for its next request.
	IdleTimeout time.Duration
	// Connections bounds how many are open at once. Beyond it: 503, and the connection ends.
	Connections int
	// Buffered bounds a response held by a buffering backend, in bytes; past the first
	// mebibyte it is on disk. Beyond it: 500 and a line in the log.
	Buffered int64
}

// Default are the limits of a worker that was told none. They let a browser upload a
// video, and let no client hold a connection for longer than it has use for it.
var Default = Limits{
	HeaderSize:    64 << 10,
	HeaderTimeout: 10 * time.Second,
	BodySize:      100 << 20,
	BodyTimeout:   30 * time.Second,
	SendTimeout:   60 * time.Second,
	IdleTimeout:   75 * time.Second,
	Connections:   -1,
	Buffered:      2 << 30,
}

// WithDefaults returns l with the default in the place of each zero, and zero, which
// net/http takes for no limit, in the place of each negative number.
func (l Limits) WithDefaults() Limits {
	return Limits{
		HeaderSize:    pick(l.HeaderSize, Default.HeaderSize),
		HeaderTimeout: pick(l.HeaderTimeout, Default.HeaderTimeout),
		BodySize:      pick(l.BodySize, Default.BodySize),
		BodyTimeout:   pick(l.BodyTimeout, Default.BodyTimeout),
		SendTimeout:   pick(l.SendTimeout, Default.SendTimeout),
		IdleTimeout:   pick(l.IdleTimeout, Default.IdleTimeout),
		Connections:   pick(l.Connections, Default.Connections),
		Buffered:      pick(l.Buffered, Default.Buffered),
	}
}

// HoldTotal is how many bytes of bodies an engine leaves with the system at once, where it is told
// nothing else: they lie in memory that the system has a bound of its own for (tcp_mem, tcp(7)).
const HoldTotal = 128 << 20

// holdTime is the longest that [Limits.HoldTime] returns.
const holdTime = 4 * time.Second

// HoldTime is how long a request's body may take to come whole where it is left with the
// system that long, before it is read as it comes: an eighth of the BodyTimeout, so that a
// client that stops is not found out much later, and four seconds at most.
func (l Limits) HoldTime() time.Duration {
	if l.BodyTimeout <= 0 {
		return holdTime
	}
	return min(l.BodyTimeout/8, holdTime)
}

func pick[T int | int64 | time.Duration](value, otherwise T) T {
	if value == 0 {
		value = otherwise
	}
	return max(value, 0)
}
