package lowat

import (
	"math"

	"golang.org/x/sys/unix"
)

// spare is for how much more than is awaited the system is asked to make room, in bytes: where
// the rest of the room is no larger than a segment, it takes the socket for full.
const spare = 128 << 10

// Most is how many bytes can be awaited.
const Most = math.MaxInt32 - spare

// Heeded says that fd is a socket whose mark is heeded by who waits for it: of TCP. The others
// take the option, and poll and epoll take no notice.
func Heeded(fd int) bool {
	p, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return err == nil && p == unix.IPPROTO_TCP
}

// Set has fd be readable as soon as n bytes, at most Most, have come that nobody has read, or as
// no more come: the end, an error, or no more room.
func Set(fd, n int) error {
	// The socket keeps the room that it was given: first for more, then the mark itself.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, n+spare); err != nil {
		return err
	}
	return Move(fd, n)
}

// Move is Set for a socket that has the room.
func Move(fd, n int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, n) }

// Clear has fd be readable as sockets are, with one byte.
func Clear(fd int) { _ = Move(fd, 1) }

// Unread is how many bytes have come that nobody has read, or -1.
func Unread(fd int) int64 {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return -1
	}
	return int64(n)
}

// Readable asks the system, which heeds the mark, whether there is something to read: what a
// poller tells of may be older than the mark.
func Readable(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return n > 0 || err != nil
}
