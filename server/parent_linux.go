package server

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// parent is the process that started us. One that ends is replaced by another.
var parent = os.Getppid()

// watchParent returns a channel that is closed when the parent process ends, if that is
// before ctx does. A pidfd is used, not PR_SET_PDEATHSIG: that one speaks of the parent's
// thread, and a manager may start workers from threads that come and go.
func watchParent(ctx context.Context) (<-chan struct{}, error) {
	ended := make(chan struct{})
	fd, err := unix.PidfdOpen(parent, unix.PIDFD_NONBLOCK)
	if os.Getppid() != parent { // and whose pid that was, nobody knows
		_ = unix.Close(fd)
		close(ended)
		return ended, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pidfd_open of the parent, %d: %w", parent, err)
	}
	pidfd := os.NewFile(uintptr(fd), "pidfd")
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = pidfd.SetReadDeadline(time.Now()) })
	go func() {
		defer stop()
		defer pidfd.Close()
		gone := false
		// A pidfd is readable once its process has ended.
		_ = raw.Read(func(fd uintptr) bool {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			gone = err == nil && n > 0
			return gone
		})
		if gone {
			close(ended)
		}
	}()
	return ended, nil
}

// monotonic is the clock that systemd goes by.
func monotonic() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano())
}
