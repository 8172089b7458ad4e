package adminui

import (
	"context"
	"sync"
	"time"

	"github.com/chaussette/chaussette/socketio"
)

// events are what the pages are to be told, in the order in which it happened. They wait in
// a queue, since some of it happens while rooms are locked, and a goroutine sends them.
type events struct {
	admin *admin
	wake  chan struct{}
	done  chan struct{} // closed when close is called
	ended chan struct{} // closed when run has returned

	mu     sync.Mutex // guards what follows
	queue  []event
	lost   bool // the pages have missed something, and need everything anew
	unsent bool // something has happened while nobody was watching
	synced time.Time
	closed bool
	pages  int // that are connected to this worker
	// elsewhere is until when a page is connected to another worker, as far as that has said.
	elsewhere time.Time
	// entering are the rooms of sockets of which no page has been told yet.
	entering map[*socketio.Socket][]socketio.Room
}

type event struct {
	name string
	args []any
}

// maxEvents bounds the queue. Where more comes, all is dropped, and the pages get a list of
// all sockets in its place, once in resync at most. What clients send and get is dropped
// earlier, and by itself: a page lists it, and no more.
const (
	maxEvents = 10_000
	maxListed = maxEvents / 2
	resync    = time.Second
)

func newEvents(a *admin) *events {
	return &events{admin: a, wake: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{}),
		entering: map[*socketio.Socket][]socketio.Room{}}
}

// watch counts the pages.
func (e *events) watch(more int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pages += more
}

func (e *events) push(name string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pushLocked(name, args...)
}

// list pushes what a client has sent or got. Where nobody is watching it costs little.
func (e *events) list(name string, s *socketio.Socket, event *socketio.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.queue) < maxListed && e.watchedLocked() {
		e.pushLocked(name, s.Namespace().Name(), s.ID(), argsOf(event), stamp())
	}
}

func (e *events) pushLocked(name string, args ...any) {
	switch {
	case e.closed, e.lost:
		return
	case !e.watchedLocked():
		e.unsent = true
		return
	case len(e.queue) >= maxEvents:
		e.queue, e.lost = nil, true
	default:
		e.queue = append(e.queue, event{name, args})
	}
	e.wakeUp()
}

func (e *events) wakeUp() {
	select {
	case e.wake <- struct{}{}:
	default: // it is awake
	}
}

// tellWatching is what a worker tells the others as long as a page is connected to it: they
// send their events then. It is good for lease.
const (
	tellWatching = "chaussette:adminui:watching"
	lease        = 10 * time.Second
)

// watchedLocked tells whether events may reach a page.
func (e *events) watchedLocked() bool {
	switch {
	case e.pages > 0:
		return true
	case e.admin.alone:
		return false
	}
	return !e.admin.asking || time.Now().Before(e.elsewhere)
}

// watchElsewhere says that a page is connected to another worker. Where it has been there for
// some time, it may have missed what was not sent, and gets all sockets anew.
func (e *events) watchElsewhere(before bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if before && e.unsent {
		e.queue, e.lost = nil, true
		e.wakeUp()
	}
	e.unsent = false
	e.elsewhere = time.Now().Add(lease)
}

// watchedHere tells whether a page is connected to this worker.
func (e *events) watchedHere() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pages > 0
}

// run sends the events, and the statistics, until close is called.
func (e *events) run() {
	defer close(e.ended)
	a := e.admin
	tick := time.NewTicker(time.Second) // the resolution of what is counted
	defer tick.Stop()
	_ = a.ns.Emit("server_stats", a.report(nil))
	for odd := true; ; {
		select {
		case <-e.wake:
			e.send()
		case now := <-tick.C:
			a.stats.turn(now)
			e.send()
			if odd = !odd; odd {
				_ = a.ns.Emit("server_stats", a.report(a.stats.take()))
				if a.asking && a.options.Mode == Development && e.watchedHere() {
					_ = a.ns.ServerSideEmit(tellWatching)
				}
			}
		case <-e.done:
			e.mu.Lock()
			e.lost = false // there is nobody any more
			e.mu.Unlock()
			e.send()
			return
		}
	}
}

// send sends what is in the queue.
func (e *events) send() {
	e.mu.Lock()
	queue, lost := e.queue, e.lost && time.Since(e.synced) >= resync
	e.queue = nil
	if lost {
		e.lost, e.synced = false, time.Now()
	}
	e.mu.Unlock()
	a := e.admin
	for _, one := range queue {
		if err := a.ns.Emit(one.name, one.args...); err != nil {
			a.log.Debug("socket.io admin: event not sent", "event", one.name, "error", err)
		}
	}
	if lost {
		a.log.Debug("socket.io admin: the pages get all sockets anew")
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = a.ns.Emit("all_sockets", a.everyone(ctx))
	}
}

// close sends what is left, and returns when nothing runs any more.
func (e *events) close() {
	e.mu.Lock()
	again := e.closed
	e.closed = true
	e.mu.Unlock()
	if !again {
		close(e.done)
	}
	<-e.ended
}
