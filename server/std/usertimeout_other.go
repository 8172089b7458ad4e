//go:build !linux

package std

import (
	"net"
	"time"
)

// setUserTimeout does nothing where the kernel has no such option.
func setUserTimeout(net.Conn, time.Duration) {}
