package server

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// trimAfter is how many connections have to have come or gone for the garbage of
	// their coming and going to be worth a collection.
	trimAfter = 1000
	// trimBelow bounds the heap, in bytes, that is collected for it: with a larger one
	// the app's own garbage sets the pace.
	trimBelow = 256 << 20
)

// trim gives memory back when many connections have come or gone and it has become
// quiet: idle connections make no garbage, so that of their handshakes would stay.
func trim(ctx context.Context, connections func() int) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	trimmed, last := 0, 0
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		n := connections()
		quiet := n == last
		last = n
		if !quiet || max(n-trimmed, trimmed-n) < trimAfter {
			continue
		}
		trimmed = n
		heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		if metrics.Read(heap); heap[0].Value.Uint64() < trimBelow {
			debug.FreeOSMemory()
		}
	}
}
