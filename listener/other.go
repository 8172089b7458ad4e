//go:build !linux

package listener

import (
	"strconv"
	"syscall"
)

// errNoNet is an errno of Linux only.
const errNoNet = syscall.Errno(0)

func newShared(fd int) (socket, error) { return fileListener(fd) }

func identity(_ int, inode uint64) string { return strconv.FormatUint(inode, 16) }
