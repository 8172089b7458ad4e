package handover

import (
	"time"

	"github.com/chaussette/chaussette/listener/siblings"
)

// telling is how often a worker looks whether its siblings have to know of fewer
// connections. Of more they hear at once.
const telling = time.Second

// How many connections a worker may have beyond its fair share, which is what each would
// have if all had the same, before it passes new ones on: a quarter of that share, and
// some for the noise of small numbers.
const (
	aboveShare = 4 // one in
	aboveNoise = 16
)

// watch tells a sibling that joins how busy this worker is.
func (e *Exchange) watch(t siblings.Tag, joined bool) {
	if !joined {
		e.forget(t)
		return
	}
	defer e.release(t)
	e.tellMu.Lock()
	defer e.tellMu.Unlock()
	own := load{takes: !e.leaving.Load()}
	if own.takes {
		own.conns = e.conns()
	}
	_ = e.siblings.Send(t, siblings.Connections, appendLoad(nil, own))
}

func (e *Exchange) hear(from siblings.Tag, l load) {
	e.mu.Lock()
	e.loads[from] = l
	e.mu.Unlock()
}

func (e *Exchange) forget(t siblings.Tag) {
	e.mu.Lock()
	delete(e.loads, t)
	e.mu.Unlock()
}

// fewest is the sibling with the fewest connections among those that take some. It is
// counted as having one more, until it says so itself.
func (e *Exchange) fewest() (siblings.Tag, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var to siblings.Tag
	for t, l := range e.loads {
		if l.takes && (to == "" || l.conns < e.loads[to].conns) {
			to = t
		}
	}
	if to == "" {
		return "", false
	}
	l := e.loads[to]
	l.conns++
	e.loads[to] = l
	return to, true
}

// Crowded tells whether PassOn would pass a long-lived connection on: this worker has far
// more than its share of them, or leaves.
func (e *Exchange) Crowded() bool {
	own := e.conns()
	e.tell(own)
	e.mu.Lock()
	defer e.mu.Unlock()
	all, workers := own, 1
	for _, l := range e.loads {
		if l.takes {
			all += l.conns
			workers++
		}
	}
	if workers == 1 {
		return false
	}
	share := all / workers
	return e.leaving.Load() || own >= share+share/aboveShare+aboveNoise
}

// tell has the siblings know of this worker's connections, if there are a sixteenth more
// or fewer than they know of.
func (e *Exchange) tell(own int) {
	if !e.news(own) {
		return
	}
	e.tellMu.Lock()
	defer e.tellMu.Unlock()
	if e.leaving.Load() || !e.news(own) {
		return
	}
	e.told.Store(int64(own))
	_, _ = e.siblings.Broadcast(siblings.Connections, appendLoad(nil, load{own, true}))
}

func (e *Exchange) news(own int) bool {
	told := e.told.Load()
	return max(int64(own)-told, told-int64(own)) >= max(told/16, aboveNoise/4)
}

// tellOn tells until Close.
func (e *Exchange) tellOn() {
	for {
		select {
		case <-e.ticker.C:
			e.tell(e.conns())
			e.review()
		case <-e.closed:
			return
		}
	}
}

// Leave has siblings offer nothing to this worker any more, since it drains. Connections
// for its sessions still come.
func (e *Exchange) Leave() {
	e.tellMu.Lock()
	defer e.tellMu.Unlock()
	if !e.leaving.Load() {

		e.leaving.Store(true)
		_, _ = e.siblings.Broadcast(siblings.Connections, appendLoad(nil, load{}))
	}
}
