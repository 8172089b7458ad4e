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
	e.tellMu.Lock()
	defer e.tellMu.Unlock()
	own := load{takes: !e.leaving}
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
	return e.fewestLocked()
}

func (e *Exchange) fewestLocked() (siblings.Tag, bool) {
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

// crowded returns the sibling that shall have the next long-lived connection, if this
// worker has far more than its share.
func (e *Exchange) crowded() (siblings.Tag, bool) {
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
	if share := all / workers; own < share+share/aboveShare+aboveNoise {
		return "", false
	}
	return e.fewestLocked()
}

// tell has the siblings know of this worker's connections, if there are a sixteenth more
// or fewer than they know of.
func (e *Exchange) tell(own int) {
	if !e.news(own) {
		return
	}
	e.tellMu.Lock()
	defer e.tellMu.Unlock()
	if e.leaving || !e.news(own) {
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
	if !e.leaving {
		e.leaving = true
		_, _ = e.siblings.Broadcast(siblings.Connections, appendLoad(nil, load{}))
	}
}
