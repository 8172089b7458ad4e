//go:build !linux

package listener

import "syscall"

// errNoNet is an errno of Linux only.
const errNoNet = syscall.Errno(0)

func newShared(fd int) (socket, error) { return fileListener(fd) }
