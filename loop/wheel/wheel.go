// Package wheel has a timing wheel: any number of deadlines that are often moved and
// seldom reached, without a timer of the runtime for each. Setting and stopping one is a
// few pointers; a Timer lies inside of what it belongs to, and is 40 bytes.
//
//	type session struct {
//		wheel.Timer
//		...
//	}
//
//	func (s *session) Expire(*wheel.Timer) { s.ping() }
//
//	w := wheel.New()
//	go w.Run(ctx)
//	w.Set(&s.Timer, s, 25*time.Second, time.Second)
package wheel

import (
	"context"
	"math/bits"
	"sync"
	"time"
)

// Tick is how fine a wheel is.
const Tick = 10 * time.Millisecond

const (
	slots = 4096 // a turn takes 41 s; what is due later is passed by until then
	words = slots / 64
)

// Expirer is called when its Timer is due: on the goroutine that turns the wheel, which
// it must not hold up. It may set and stop timers, the expired one too.
type Expirer interface {
	Expire(t *Timer)
}

// Timer is one deadline, to be embedded. The zero value is stopped. It belongs to one
// Wheel at a time, and must not be copied while it is set.
type Timer struct {
	next, prev *Timer // in its slot
	owner      Expirer
	at         uint32 // tick
	slot       uint16 // plus one; zero when stopped
}

// Wheel keeps Timers. Its methods may be called from any goroutine, but one at a time
// turns it (Run, Advance).
type Wheel struct {
	start time.Time
	wake  func()
	// changed is for Run: wake sends to it.
	changed chan struct{}

	mu      sync.Mutex
	slots   [slots]*Timer
	used    [words]uint64 // a bit for each slot that is not empty
	count   int
	hand    uint32    // the first tick that has not been expired
	waiting uint32    // the tick that whoever turns the wheel waits for
	due     []expired // of Advance, kept for the next time
}

// expired has the owner as it was: the Timer may be set anew at once.
type expired struct {
	timer *Timer
	owner Expirer
}

const never = ^uint32(0)

// New returns an empty wheel, to be turned by Run.
func New() *Wheel {
	changed := make(chan struct{}, 1)
	w := NewDriven(func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	w.changed = changed
	return w
}

// NewDriven returns an empty wheel that its owner turns by Advance. Wake is called,
// without locks held and from any goroutine, when a Timer is set that is due before what
// Next has told.
func NewDriven(wake func()) *Wheel {
	return &Wheel{start: time.Now(), wake: wake, waiting: never}
}

// Set makes t due in d, and at most slack later: with a slack, timers of about the same
// time become due together. A Timer that is set already is moved.
func (w *Wheel) Set(t *Timer, owner Expirer, d, slack time.Duration) {
	after := time.Since(w.start) + max(d, 0)
	at := uint32((after + Tick - 1) / Tick)
	if coarse := uint32(slack / Tick); coarse > 1 {
		at = (at + coarse - 1) / coarse * coarse
	}
	w.mu.Lock()
	if t.slot != 0 {
		w.unlinkLocked(t)
	}
	t.owner, t.at = owner, max(at, w.hand)
	w.linkLocked(t)
	earlier := t.at < w.waiting
	if earlier {
		w.waiting = t.at
	}
	w.mu.Unlock()
	if earlier {
		w.wake()
	}
}

// Stop stops t and reports whether it was set. If it was not, its Expire has been called,
// or is about to be, on another goroutine.
func (w *Wheel) Stop(t *Timer) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.slot == 0 {
		return false
	}
	w.unlinkLocked(t)
	return true
}

func (w *Wheel) linkLocked(t *Timer) {
	i := t.at % slots
	t.slot, t.prev, t.next = uint16(i)+1, nil, w.slots[i]
	if t.next != nil {
		t.next.prev = t
	}
	w.slots[i] = t
	w.used[i/64] |= 1 << (i % 64)
	w.count++
}

func (w *Wheel) unlinkLocked(t *Timer) {
	i := t.slot - 1
	if t.prev != nil {
		t.prev.next = t.next
	} else if w.slots[i] = t.next; t.next == nil {
		w.used[i/64] &^= 1 << (i % 64)
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.next, t.prev, t.slot = nil, nil, 0
	w.count--
}

// Len is how many timers are set.
func (w *Wheel) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// Next returns how long until Advance has something to look at; false if no timer is set.
func (w *Wheel) Next() (time.Duration, bool) {
	w.mu.Lock()
	tick := w.nextLocked()
	w.waiting = tick
	w.mu.Unlock()
	if tick == never {
		return 0, false
	}
	return max(time.Duration(tick)*Tick-time.Since(w.start), 0), true
}

// nextLocked is the tick of the first slot from the hand on that is not empty.
func (w *Wheel) nextLocked() uint32 {
	if w.count == 0 {
		return never
	}
	from := w.hand % slots
	for i := uint32(0); i <= words; i++ {
		at := (from/64 + i) % words
		used := w.used[at]
		switch i {
		case 0:
			used &= ^uint64(0) << (from % 64)
		case words:
			used &= 1<<(from%64) - 1
		}
		if used != 0 {
			slot := at*64 + uint32(bits.TrailingZeros64(used))
			return w.hand + (slot-from)%slots
		}
	}
	return never
}

// Advance expires what is due, and returns how many timers were.
func (w *Wheel) Advance() int {
	now := uint32(time.Since(w.start) / Tick)
	w.mu.Lock()
	due := w.due[:0]
	w.due = nil // Expire may block, and another goroutine come to turn the wheel
	for w.count > 0 {
		tick := w.nextLocked()
		if tick > now {
			break
		}
		w.hand = tick + 1
		for t := w.slots[tick%slots]; t != nil; {
			next := t.next
			if t.at <= tick {
				w.unlinkLocked(t)
				due = append(due, expired{t, t.owner})
			}
			t = next
		}
	}
	w.hand = max(w.hand, now+1)
	w.mu.Unlock()
	for _, e := range due {
		e.owner.Expire(e.timer)
	}
	clear(due)
	w.mu.Lock()
	w.due = due
	w.mu.Unlock()
	return len(due)
}

// Run turns the wheel until ctx ends.
func (w *Wheel) Run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		w.Advance()
		if d, any := w.Next(); any {
			timer.Reset(d)
		} else {
			timer.Stop()
		}
		select {
		case <-timer.C:
		case <-w.changed:
		case <-ctx.Done():
			return
		}
	}
}
