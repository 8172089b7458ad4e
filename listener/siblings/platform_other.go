//go:build !linux

package siblings

import (
	"errors"
	"net"
	"syscall"
)

// Only Linux has the folder by its descriptor, and the peer's user.
func peerUID(*net.UnixConn) (int, error) { return -1, errors.ErrUnsupported }

func duplicate(fd int) (int, error) { return syscall.Dup(fd) }

func closeFD(fd int) { _ = syscall.Close(fd) }
