package loop

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/loop/wheel"
)

const (
	bufferSize = 256 << 10 // of which the system gives only what is used
	maxEvents  = 512
)

// Loop waits for the connections that it owns. One goroutine at a time leads it.
type Loop struct {
	group *Group
	epoll int
	wakes int // an eventfd
	wheel *wheel.Wheel
	start time.Time

	// state is what the leader and who might take over agree by: the lowest bit says that
	// an Owner is called, the others count the calls. Who changes it from such a state
	// may touch what follows.
	state atomic.Uint64

	// These belong to the leader.
	events  [maxEvents]unix.EpollEvent
	count   int
	next    int           // of events
	current *Conn         // whose Owner is called
	aside   int           // calls that are still to be made on goroutines of their own
	yielded time.Duration // since start, when the leader yielded last

	acceptors atomic.Pointer[[]*acceptor] // or nil
	now       atomic.Uint32               // clock, when the leader looked last
	takeovers atomic.Uint64

	roundMu sync.Mutex // guards what follows
	inRound bool       // the leader has events to serve
	atEnd   []Rounder  // when it has served them
	spare   []Rounder  // the leader's

	wantAside atomic.Bool           // the next calls are to be made aside
	refuse    atomic.Pointer[error] // of additions to epoll, in tests

	// These belong to who watches.
	seen    uint64
	taken   int   // of late
	suspect *Conn // that the loop was taken over from, at the last look
}

const inCall = 1

// worker is what a goroutine needs to run Conns.
type worker struct {
	buffer []byte
	answer []byte
}

var workers = sync.Pool{New: func() any { return &worker{buffer: make([]byte, bufferSize)} }}

func newLoop(g *Group) (*Loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	wakes, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	l := &Loop{group: g, epoll: epoll, wakes: wakes, start: time.Now()}
	l.wheel = wheel.NewDriven(l.wake)
	if err := l.control(unix.EPOLL_CTL_ADD, int32(wakes), unix.EPOLLIN); err != nil {
		l.close()
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	return l, nil
}

// control tells epoll. The error of an addition is that the system has no memory for it, or
// no watches left (/proc/sys/fs/epoll/max_user_watches); others are mistakes of this package.
func (l *Loop) control(operation int, fd int32, events uint32) error {
	if refuse := l.refuse.Load(); refuse != nil && *refuse != nil && operation == unix.EPOLL_CTL_ADD {
		return *refuse
	}
	event := unix.EpollEvent{Events: events, Fd: fd}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(l.epoll), uintptr(operation), uintptr(fd), uintptr(unsafe.Pointer(&event)), 0, 0)
	switch {
	case errno == 0:
		return nil
	case operation == unix.EPOLL_CTL_ADD && (errno == unix.ENOMEM || errno == unix.ENOSPC):
		return errno
	}
	panic(fmt.Sprintf("loop: epoll_ctl %d of descriptor %d: %v", operation, fd, errno))
}

// clockTick is how fine the clock is by which Conns note when they were read.
const clockTick = 10 * time.Millisecond

func (l *Loop) clock() uint32 { return uint32(time.Since(l.start) / clockTick) }

func (l *Loop) wake() {
	one := [8]byte{1}
	unix.Write(l.wakes, one[:])
}

// lead runs the loop until the group is closed, or somebody else leads.
func (l *Loop) lead() {
	w := workers.Get().(*worker)
	defer workers.Put(w)
	for {
		if l.next == l.count {
			l.endRound()
		}
		if l.next == l.count && !l.wait() {
			l.group.left.Done()
			return
		}
		for l.next < l.count {
			event := &l.events[l.next]
			l.next++
			if !l.serve(w, event.Fd, event.Events) {
				return
			}
		}
	}
}

// wait fills events; it returns false when the group is closed.
func (l *Loop) wait() bool {
	l.next, l.count = 0, 0
	for quiet := 0; l.count == 0; quiet++ {
		if l.group.closed.Load() {
			return false
		}
		// Asking first without telling Go's scheduler is cheaper by far while there is
		// always something to do: the scheduler then takes no processor away.
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events)), maxEvents, 0, 0, 0)
		if errno != 0 || n == 0 {
			timeout := -1
			if d, any := l.wheel.Next(); any {
				timeout = int((d + time.Millisecond - 1) / time.Millisecond)
			}
			next := l.yield()
			if ms := int(next/time.Millisecond) + 1; quiet < quietYields && (timeout < 0 || timeout > ms) {
				timeout = ms
			}
			n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events)), maxEvents, uintptr(timeout), 0, 0)
		}
		if errno == 0 && n > 0 {
			l.count = int(n)
			l.roundMu.Lock()
			l.inRound = true
			l.roundMu.Unlock()
		}
		l.now.Store(l.clock())
		l.wheel.Advance()
	}
	return true
}

// yieldEvery is less than the 10 ms after which Go's monitor thread takes a goroutine for one
// that runs on and on, and a call of the system for a long one.
const yieldEvery = 7 * time.Millisecond

// quietYields is how often a leader that has nothing to do yields before it waits for as long
// as it takes. Clients that wait for the same thing leave pauses of some ten milliseconds.
const quietYields = 4

// yield shows Go's scheduler now and then that the leader does not run on and on, although it
// never parks. The monitor thread would take the processor away from it, which costs the way
// back through the scheduler, and more than fifty wake-ups of that thread, since it sleeps for
// 20 us at a time after each. It returns when yield is due again.
func (l *Loop) yield() time.Duration {
	now := time.Since(l.start)
	if now-l.yielded >= yieldEvery {
		l.yielded = now
		runtime.Gosched()
	}
	return yieldEvery - (now - l.yielded)
}

// endRound calls those who wanted to be called.
func (l *Loop) endRound() {
	for {
		l.roundMu.Lock()
		at := l.atEnd
		l.atEnd, l.spare = l.spare[:0], at
		l.inRound = len(at) > 0 // who is called may have more to do
		l.roundMu.Unlock()
		if len(at) == 0 {
			return
		}
		for _, r := range at {
			r.EndRound()
		}
		clear(at)
	}
}

// serve runs the Conn of a descriptor; it returns false if the loop is led by somebody
// else now.
func (l *Loop) serve(w *worker, fd int32, events uint32) bool {
	if int(fd) == l.wakes {
		var b [8]byte
		unix.Read(l.wakes, b[:])
		return true
	}
	c := l.group.find(fd)
	if c == nil || c.loop != l {
		l.accept(fd)
		return true // or it was closed since
	}
	if events&unix.EPOLLOUT != 0 {
		c.flush()
	}
	if events&^unix.EPOLLOUT == 0 {
		return true
	}
	if l.wantAside.Load() {
		l.wantAside.Store(false)
		l.aside = callsAside
	}
	claimed, quick := c.claim(l.aside > 0, events)
	if !claimed {
		return true
	}
	if l.aside > 0 {
		l.aside--
		go c.runAside(events)
		return true
	}
	if !quick {
		l.group.watch()
	}
	l.current = c
	state := l.state.Add(inCall)
	c.ready(w, events, true)
	if l.state.CompareAndSwap(state, state+1) {
		return true
	}
	c.done()
	return false
}

// claim reports whether c may be run, and whether its Owner is quick; if it is run already, it
// is not watched until that has ended.
func (c *Conn) claim(aside bool, events uint32) (ok, quick bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bits&(busy|claimed) != 0 {
		if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 { // nobody will take the rest
			c.rest = nil
			c.bits &^= writing
		}
		c.armLocked()
		return false, false
	}
	if aside {
		c.bits |= busy
	}
	return true, c.bits&isQuick != 0
}

// runAside runs c on a goroutine that leads no loop.
func (c *Conn) runAside(events uint32) {
	w := workers.Get().(*worker)
	c.ready(w, events, false)
	workers.Put(w)
	c.doneAside()
}
