//go:build unix

package webtransport

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// reusePort lets other sockets of the same user have the address, too.
func reusePort(_, _ string, c syscall.RawConn) error {
	var err error
	failed := c.Control(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt SO_REUSEPORT", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	})
	return errors.Join(failed, err)
}
