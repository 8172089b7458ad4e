package adapter

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/chaussette/chaussette/socketio/parser"
)

// Recovery says how much a Memory keeps for clients that come back.
type Recovery struct {
	// MaxDisconnection is how long a client may be away; 0 means 2 minutes.
	MaxDisconnection time.Duration
	// MaxPackets bounds the packets that are kept, MaxSessions the clients that are away;
	// past them the oldest are forgotten. 0 means 10,000.
	MaxPackets, MaxSessions int
}

// NewRecovering returns a Memory with connection state recovery: every event gets one
// argument more, its offset, which clients remember.
func NewRecovering(r Recovery) *Memory {
	if r.MaxDisconnection == 0 {
		r.MaxDisconnection = 2 * time.Minute
	}
	if r.MaxPackets == 0 {
		r.MaxPackets = 10_000
	}
	if r.MaxSessions == 0 {
		r.MaxSessions = 10_000
	}
	a := NewMemory()
	a.log = &history{limits: r, saved: map[string]saved{}}
	return a
}

// history is what was broadcast of late, and who is away.
type history struct {
	limits Recovery
	// fanning is held for reading while a packet gets its offset and is delivered.
	fanning sync.RWMutex

	mu      sync.Mutex // guards what follows
	last    uint64     // the offset of the newest entry
	entries []entry    // by offset
	saved   map[string]saved
	order   []string // pids, oldest first; some are gone
}

type entry struct {
	offset uint64
	at     time.Time
	packet *Packet
	opts   Opts
}

type saved struct {
	SavedSession
	at time.Time
}

// add gives p its offset and keeps it.
func (h *history) add(p *Packet, o Opts) {
	if p.Type != parser.Event || p.HasID || p.NoRecovery || o.Flags.Volatile {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	p.Data = parser.AppendElement(p.Data, strconv.FormatUint(h.last, 36))
	h.entries = append(h.entries, entry{h.last, time.Now(), p, o})
	h.pruneLocked()
}

func (h *history) pruneLocked() {
	old := time.Now().Add(-h.limits.MaxDisconnection)
	n := max(len(h.entries)-h.limits.MaxPackets, 0)
	for n < len(h.entries) && h.entries[n].at.Before(old) {
		n++
	}
	if n > 0 {
		h.entries = slices.Delete(h.entries, 0, n)
	}
	for len(h.order) > 0 {
		s, known := h.saved[h.order[0]]
		if known && !s.at.Before(old) && len(h.saved) <= h.limits.MaxSessions {
			return
		}
		delete(h.saved, h.order[0])
		h.order = h.order[1:]
	}
}

// Save implements Adapter.
func (a *Memory) Save(s SavedSession) {
	h := a.log
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.saved[s.PID] = saved{s, time.Now()}
	h.order = append(h.order, s.PID)
	h.pruneLocked()
}

// Restore implements Adapter.
func (a *Memory) Restore(_ context.Context, pid, offset string, back func(SavedSession) Socket) (bool, error) {
	h := a.log
	if h == nil {
		return false, nil
	}
	h.fanning.Lock() // what is broadcast waits
	defer h.fanning.Unlock()
	session, ok := h.take(pid, offset)
	if !ok {
		return false, nil
	}
	s := back(session)
	a.Add(s)
	a.Join(s, session.Rooms...)
	return true, nil
}

// take returns a saved session with what it missed, and forgets it.
func (h *history) take(pid, offset string) (SavedSession, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pruneLocked()
	s, known := h.saved[pid]
	from, err := strconv.ParseUint(offset, 36, 64)
	if !known || err != nil {
		return SavedSession{}, false
	}
	i, found := slices.BinarySearchFunc(h.entries, from, func(e entry, at uint64) int { return cmp.Compare(e.offset, at) })
	if !found {
		return SavedSession{}, false
	}
	delete(h.saved, pid)
	own := append([]Room{Room(s.ID)}, s.Rooms...)
	for _, e := range h.entries[i+1:] {
		wanted := len(e.opts.Rooms) == 0 || overlap(own, e.opts.Rooms)
		if wanted && !overlap(own, e.opts.Except) {
			s.Missed = append(s.Missed, e.packet)
		}
	}
	return s.SavedSession, true
}

func overlap(a, b []Room) bool {
	return slices.ContainsFunc(a, func(r Room) bool { return slices.Contains(b, r) })
}
