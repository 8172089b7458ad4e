package std

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// writeMore writes p, and has the kernel keep what fills no packet until the next write,
// or 200 ms.
func writeMore(c net.Conn, p []byte) (n int, err error) {
	if s, ok := c.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			_ = raw.Write(func(fd uintptr) bool {
				n, _ = unix.SendmsgN(int(fd), p, nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
				return true
			})
		}
	}
	if n = max(n, 0); n == len(p) {
		return n, nil
	}
	m, err := c.Write(p[n:])
	return n + m, err
}
