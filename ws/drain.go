package ws

import (
	"context"
	"time"
)

// drainPace is how long a drain takes for each connection, if it has the time: clients
// come back as fast as a sibling can take them.
const drainPace = 2 * time.Millisecond

// Drain closes e's connections with their Config.DrainCode, spread over a time that grows
// with their number, at most half of what ctx has left: not all clients come back at
// once. It returns when the last has gone and its handler's Close has returned, or cuts
// what is left and returns ctx.Err() when ctx ends. Connections that are opened meanwhile
// are closed as well; better refuse them.
func Drain(ctx context.Context, e Engine) error {
	within := time.Duration(e.Len()) * drainPace
	if deadline, ok := ctx.Deadline(); ok {
		within = min(within, time.Until(deadline)/2)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for e.Len() > 0 {
		// As many are left open as there is time left.
		left := max(within-time.Since(start), 0)
		keep := 0
		if within > 0 {
			keep = int(float64(e.Len()) * float64(left) / float64(left+10*time.Millisecond))
		}
		closing := e.Len() - keep
		for c := range e.Conns() {
			if closing <= 0 {
				break
			}
			if c.Close(c.Config().DrainCode, "") == nil {
				closing--
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			for c := range e.Conns() {
				c.CloseNow()
			}
			return ctx.Err()
		}
	}
	return nil
}
