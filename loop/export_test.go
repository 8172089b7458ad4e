//go:build linux

package loop

// WithoutRing has the group's Batch do without io_uring.
func (g *Group) WithoutRing() {
	g.batchMu.Lock()
	defer g.batchMu.Unlock()
	g.batch.tried = true
}

// HasRing reports whether a Batch has used io_uring.
func (g *Group) HasRing() bool {
	g.batchMu.Lock()
	defer g.batchMu.Unlock()
	return g.batch.ring != nil
}

// RefuseWatches has the group's loops refuse to watch from now on, as the system does that
// has no memory or no watches left.
func (g *Group) RefuseWatches(errno error) {
	for _, l := range g.loops {
		l.refuse.Store(&errno)
	}
}

// Watches reports whether somebody watches how long Owners take.
func (g *Group) Watches() bool { return g.watching.Load() }
