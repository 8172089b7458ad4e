//go:build !linux

package server

import (
	"context"
	"os"
	"time"
)

// parent is the process that started us. One that ends is replaced by another.
var parent = os.Getppid()

// watchParent returns a channel that is closed when the parent process ends, if that is
// before ctx does. Without pidfds it looks every second whether the parent is another.
func watchParent(ctx context.Context) (<-chan struct{}, error) {
	ended := make(chan struct{})
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for os.Getppid() == parent {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		close(ended)
	}()
	return ended, nil
}

var started = time.Now()

// monotonic is a clock that is never set; systemd, which would compare it, is not here.
func monotonic() time.Duration { return time.Since(started) }
