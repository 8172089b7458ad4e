package loop

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Group is some loops among which connections are divided.
type Group struct {
	loops []*Loop
	next  atomic.Uint32 // the loop that gets the next Conn

	tableMu sync.Mutex // for adding a page
	table   [maxFD / pageSize]atomic.Pointer[page]
	conns   atomic.Int64 // in the table
	open    atomic.Int64 // and those whose Owner has not been told of their end

	batchMu sync.Mutex // held by whoever has batch
	batch   Batch

	acceptMu sync.Mutex // for closed to become true, and for acceptors to change

	closed   atomic.Bool
	left     sync.WaitGroup // leaders, who watches, and listeners that are watched
	watching atomic.Bool
	watchers chan struct{} // tells to watch
	done     chan struct{}
}

// page is a part of the table of connections by descriptor.
type page [pageSize]atomic.Pointer[Conn]

const (
	pageSize = 1 << 10
	maxFD    = 1 << 22
)

// NewGroup starts n loops.
func NewGroup(n int) (*Group, error) {
	g := &Group{watchers: make(chan struct{}, 1), done: make(chan struct{})}
	for range max(n, 1) {
		l, err := newLoop(g)
		if err != nil {
			for _, l := range g.loops {
				l.close()
			}
			return nil, err
		}
		g.loops = append(g.loops, l)
	}
	for _, l := range g.loops {
		g.left.Add(1)
		go l.lead()
	}
	g.left.Add(1)
	go g.watchLoops()
	return g, nil
}

// Add makes c the connection fd, which must not block and belongs to the loop from now
// on, with its owner. It is read after StartLocked. If there is an error, fd still belongs to
// the caller.
func (g *Group) Add(c *Conn, owner Owner, fd int) error {
	if g.closed.Load() {
		return ErrClosed
	}
	if fd >= maxFD {
		return fmt.Errorf("loop: descriptor %d is too large", fd)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loop = g.loops[int(g.next.Add(1))%len(g.loops)]
	c.owner, c.fd = owner, int32(fd)
	g.page(fd)[fd%pageSize].Store(c)
	g.conns.Add(1)
	g.open.Add(1)
	c.bits = claimed
	c.read = c.loop.clock()
	return nil
}

func (g *Group) page(fd int) *page {
	at := &g.table[fd/pageSize]
	if p := at.Load(); p != nil {
		return p
	}
	g.tableMu.Lock()
	defer g.tableMu.Unlock()
	if at.Load() == nil {
		at.Store(new(page))
	}
	return at.Load()
}

func (g *Group) find(fd int32) *Conn {
	if fd < 0 || fd >= maxFD {
		return nil
	}
	p := g.table[fd/pageSize].Load()
	if p == nil {
		return nil
	}
	return p[fd%pageSize].Load()
}

func (g *Group) remove(fd int32) {
	g.page(int(fd))[fd%pageSize].Store(nil)
	g.conns.Add(-1)
}

// Len is how many connections are open.
func (g *Group) Len() int { return int(g.conns.Load()) }

// Open is how many connections there are whose Owners have not returned from Ended.
func (g *Group) Open() int { return int(g.open.Load()) }

// Takeovers is how often a loop was taken over from a slow Owner.
func (g *Group) Takeovers() uint64 {
	var n uint64
	for _, l := range g.loops {
		n += l.takeovers.Load()
	}
	return n
}

// Conns calls f for every connection's Owner, until it returns false.
func (g *Group) Conns(f func(Owner) bool) {
	for i := range g.table {
		p := g.table[i].Load()
		if p == nil {
			continue
		}
		for j := range p {
			if c := p[j].Load(); c != nil && !f(c.owner) {
				return
			}
		}
	}
}

// Close ends the loops, when the connections are gone: those that are left are never
// called again. It waits for the loops, but not for Owners that are still called.
func (g *Group) Close() {
	g.acceptMu.Lock()
	before := g.closed.Swap(true)
	g.acceptMu.Unlock()
	if before {
		return
	}
	close(g.done)
	for _, l := range g.loops {
		l.wake()
	}
	g.left.Wait()
	for _, l := range g.loops {
		l.close()
	}
	g.closeBatch()
}

func (l *Loop) close() {
	unix.Close(l.epoll)
	unix.Close(l.wakes)
}

// watch says that a loop has work, so that somebody watches.
func (g *Group) watch() {
	if !g.watching.Load() && g.watching.CompareAndSwap(false, true) {
		select {
		case g.watchers <- struct{}{}:
		default:
		}
	}
}

// watchLoops takes loops over from slow Owners. It sleeps while nothing is called.
func (g *Group) watchLoops() {
	defer g.left.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-g.watchers:
		case <-g.done:
			return
		}
		for quiet := 0; quiet < 8; quiet++ {
			timer.Reset(Patience)
			select {
			case <-timer.C:
			case <-g.done:
				return
			}
			for _, l := range g.loops {
				if l.look() {
					quiet = 0
				}
			}
		}
		g.watching.Store(false)
		for _, l := range g.loops { // one may have begun since, and seen us watching
			if l.state.Load() != l.seen {
				g.watch()
			}
		}
	}
}

// Where this many takeovers come without a quiet moment between them, Owners are called
// aside for so many calls.
const (
	tooManyTakeovers = 3
	callsAside       = 1000
)

// look takes l over if it is in the same call as at the last look; it reports whether l
// does anything.
func (l *Loop) look() bool {
	if l.suspect != nil {
		// It was slow, and not only off the processor for a moment.
		if l.suspect.isBusy() {
			if l.taken += 2 * tooManyTakeovers; l.taken > 2*tooManyTakeovers*tooManyTakeovers {
				l.wantAside.Store(true)
			}
		}
		l.suspect = nil
	}
	state := l.state.Load()
	if state != l.seen {
		l.seen = state
		l.taken = max(l.taken-1, 0)
		return true
	}
	if state&inCall == 0 {
		return false
	}
	if !l.state.CompareAndSwap(state, state+1) {
		return true
	}
	l.takeovers.Add(1)
	l.suspect = l.current
	l.current.takenOver()
	l.seen = state + 1
	go l.lead()
	return true
}
