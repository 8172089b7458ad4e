package python

import (
	"hash/maphash"
	"sync/atomic"
)

// habits remember of paths whether the app wrote its last response on the connection itself,
// which it will likely do again. Paths share them where there are many: a habit is only a guess.
type habits struct {
	seed  maphash.Seed
	lends [512]atomic.Bool
}

// of is the habit of a path.
func (h *habits) of(path string) *atomic.Bool {
	return &h.lends[maphash.String(h.seed, path)%uint64(len(h.lends))]
}
