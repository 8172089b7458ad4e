package server

import (
	"context"
	"runtime"
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

// heapFloor is how many bytes the collector takes the heap to hold from the start. It runs
// when the heap has doubled, and so, with next to nothing in it, thirty times a second
// under load, to find the same globals each time: 8 % of the CPU of a small request. The
// memory is never touched, so it is not resident; an app with a heap of its own does not
// notice it.
const heapFloor = 8 << 20

// keepHeapFloor holds it until release is called.
func keepHeapFloor() (release func()) {
	floor := make([]byte, heapFloor)
	return func() { runtime.KeepAlive(floor) }
}

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
