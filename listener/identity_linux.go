package listener

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// identity is made of the kernel's cookie of the socket, which it gives once, and of the
// network namespace, in which it counts. Inodes are used again; kernels without cookies
// have nothing else.
func identity(fd int, inode uint64) string {
	number, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		number = inode
	}
	var namespace uint64
	if info, err := os.Stat("/proc/self/ns/net"); err == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			namespace = stat.Ino
		}
	}
	return fmt.Sprintf("%x-%x", namespace, number)
}
