package adapter

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	// MaxBytes bounds the packets that are kept in bytes of their data; 0 means 16 MiB.
	MaxBytes int
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
	if r.MaxBytes == 0 {
		r.MaxBytes = 16 << 20
	}
	a := NewMemory()
	a.log = newHistory(a, r)
	return a
}

// History is what was broadcast of late by any worker of a namespace, and who is away.
//
// Each worker numbers its events. All workers keep those of all, in as many lists, and
// each delivers an event once, after those before it of its origin. An offset is the
// Vector of what a worker had delivered with the event that it goes with. So whatever
// worker a client comes back to knows what it has and what it has missed, and if all
// workers get all events, it has each once, wherever it was meanwhile.
//
// What a worker sends to its own sockets alone it keeps for itself, numbered apart, and
// gives to another worker with the session that it is for.
type History struct {
	memory *Memory
	limits Recovery
	self   Origin
	// offset is that of the last event that was delivered to all.
	offset atomic.Pointer[string]

	// fanning is held while an event gets its number and is delivered, so that every
	// client gets events in the order of their offsets: it remembers the last alone.
	// Deliver does not block, and calls nobody else's code.
	fanning sync.Mutex
	origins map[Origin]*list // what was numbered, by whom
	clock   int64            // Entry.At of the last own event
	packets int
	bytes   int
	rising  chan struct{} // closed when an event comes; nil if nobody waits

	mu     sync.Mutex            // guards what follows; may be taken with fanning held
	saved  map[string]*Session   // by pid
	order  []string              // pids, oldest first; some are gone
	here   map[string]Socket     // connected, by pid
	wanted map[string][]withdraw // who waits for Save, by pid
}

type withdraw func(*Session)

// list is the events of one origin.
type list struct {
	entries []*Entry // by Seq, without gaps
	have    uint64   // the last that has come
	floor   uint64   // those up to here are not kept
	alive   bool     // more may come
	idle    int64    // since when it is neither alive nor has entries, Unix nanoseconds
}

// Entry is an event in a History.
type Entry struct {
	Origin Origin
	Seq    uint64 // from 1 on
	// At is when it was sent by the clock of its origin, in Unix nanoseconds. It rises.
	At          int64
	Namespace   string
	Data        []byte // without offset
	Attachments [][]byte
	Rooms       []Room
	Except      []Room
	// Uncompressed is that of the Packet.
	Uncompressed bool

	came int64
}

// Size is about how many bytes e takes.
func (e *Entry) Size() int {
	n := len(e.Data) + 128
	for _, a := range e.Attachments {
		n += len(a)
	}
	return n
}

func (e *Entry) packet(data []byte) *Packet {
	return &Packet{Uncompressed: e.Uncompressed,
		Packet: parser.Packet{Type: parser.Event, Namespace: e.Namespace, Data: data, Attachments: e.Attachments}}
}

// recall is what a History keeps with a socket.
type recall struct {
	since string                 // the offset when it came
	last  atomic.Pointer[string] // of the last event that was delivered to it; nil for none
	left  string                 // the offset when it left
	begun int64                  // what was sent before, in Unix nanoseconds, is not for it
	carry []*Entry               // what other workers had kept for it, and may have to be sent again
}

// Returner is implemented by sockets whose clients may come back.
type Returner interface {
	// PID is by what the client is known when it comes back; empty if it cannot.
	PID() string
	// Moved says that the client is back already, and this socket's end was not noticed
	// yet. The socket ends, and Save is called. Moved does not block, and may be called again.
	Moved()
}

func newHistory(a *Memory, r Recovery) *History {
	h := &History{memory: a, limits: r, self: newOrigin(), origins: map[Origin]*list{}, saved: map[string]*Session{},
		here: map[string]Socket{}, wanted: map[string][]withdraw{}}
	h.origins[h.self] = &list{alive: true}
	h.origins[h.self.private()] = &list{alive: true}
	offset := h.vectorLocked().String()
	h.offset.Store(&offset)
	return h
}

// Self names this worker's events.
func (h *History) Self() Origin { return h.self }

// told tells whether l is in offsets. One that has ended is left out after some time: no
// client can come back any more that has missed some of its events.
func (h *History) told(l *list) bool {
	retention := 2*h.limits.MaxDisconnection + time.Minute
	return l.idle == 0 || time.Now().UnixNano()-l.idle < int64(retention)
}

// vectorLocked is what goes into offsets. fanning is held.
func (h *History) vectorLocked() Vector {
	v := make(Vector, len(h.origins))
	for o, l := range h.origins {
		if h.told(l) {
			v[o] = l.have
		}
	}
	return v
}

// Vector is all that this worker has of events that are for all workers.
func (h *History) Vector() Vector {
	h.fanning.Lock()
	defer h.fanning.Unlock()
	v := make(Vector, len(h.origins))
	for o, l := range h.origins {
		if o != h.self.private() {
			v[o] = l.have
		}
	}
	return v
}

// Have is up to which number events of an origin have come.
func (h *History) Have(o Origin) uint64 {
	h.fanning.Lock()
	defer h.fanning.Unlock()
	if l := h.origins[o]; l != nil {
		return l.have
	}
	return 0
}

// maxOrigins bounds how many origins are remembered that have ended.
const maxOrigins = 1024

// listLocked is that of an origin, made if need be. fanning is held.
func (h *History) listLocked(o Origin) *list {
	l := h.origins[o]
	if l == nil {
		l = &list{idle: time.Now().UnixNano()}
		h.origins[o] = l
		if len(h.origins) > maxOrigins {
			h.dropOriginLocked()
		}
	}
	return l
}

// dropOriginLocked forgets the one that ended first.
func (h *History) dropOriginLocked() {
	var oldest Origin
	for o, l := range h.origins {
		if l.idle > 0 && (oldest == "" || l.idle < h.origins[oldest].idle) {
			oldest = o
		}
	}
	delete(h.origins, oldest)
}

// SetAlive says whether more may come of an origin.
func (h *History) SetAlive(o Origin, alive bool) {
	h.fanning.Lock()
	defer h.fanning.Unlock()
	l := h.listLocked(o)
	l.alive = alive
	h.idleLocked(l)
}

func (h *History) idleLocked(l *list) {
	switch busy := l.alive || len(l.entries) > 0; {
	case busy:
		l.idle = 0
	case l.idle == 0:
		l.idle = time.Now().UnixNano()
	}
}

// Emit numbers p, unless it is volatile or of another kind that is not kept, and delivers
// it to the local sockets. If private returns true it is for them alone: it is asked when
// no socket can be on its way to another worker, with what this one has kept for it. Else
// send is called, one event after another, to tell other workers; its argument is nil for
// what is not kept. Nil for both keeps it here.
func (h *History) Emit(p *Packet, o Opts, private func() bool, send func(*Entry) error) error {
	h.fanning.Lock()
	here := private == nil || private()
	var e *Entry
	if p.Type == parser.Event && !p.HasID && !p.NoRecovery && !o.Flags.Volatile {
		h.clock = max(time.Now().UnixNano(), h.clock+1)
		e = &Entry{Origin: h.self, At: h.clock, Namespace: p.Namespace, Data: p.Data, Attachments: p.Attachments, Rooms: o.Rooms, Except: o.Except,
			Uncompressed: p.Uncompressed}
		if here {
			e.Origin = h.self.private()
		}
		e.Seq = h.origins[e.Origin].have + 1
		h.keepLocked(e)
	}
	var err error
	if !here {
		err = send(e)
	}
	told := h.deliverLocked(p, o, e, 0)
	h.fanning.Unlock()
	tell(told, p)
	return err
}

// Take delivers an event of another worker, unless it was there before. It is false, with
// nothing done, where events before it have not come.
func (h *History) Take(e *Entry) bool { return h.take(e, 0) }

// Fill takes what another worker has kept of an origin. What is up to floor nobody has
// any more. Those who have come after an event was sent do not get it.
func (h *History) Fill(o Origin, floor uint64, entries []*Entry) {
	h.fanning.Lock()
	if l := h.listLocked(o); l.have < floor {
		l.have, l.floor = floor, floor
		h.raiseLocked()
	}
	h.fanning.Unlock()
	for _, e := range entries {
		h.take(e, e.At)
	}
}

func (h *History) take(e *Entry, before int64) bool {
	h.fanning.Lock()
	l := h.listLocked(e.Origin)
	if e.Seq != l.have+1 {
		had := e.Seq <= l.have
		h.fanning.Unlock()
		return had
	}
	h.keepLocked(e)
	p := e.packet(e.Data)
	told := h.deliverLocked(p, Opts{Rooms: e.Rooms, Except: e.Except}, e, before)
	h.fanning.Unlock()
	tell(told, p)
	return true
}

// keepLocked makes e the last of its origin.
func (h *History) keepLocked(e *Entry) {
	l := h.origins[e.Origin]
	e.came = time.Now().UnixNano()
	l.entries = append(l.entries, e)
	l.have, l.idle = e.Seq, 0
	h.packets++
	h.bytes += e.Size()
	h.pruneLocked()
	h.raiseLocked()
}

func (h *History) raiseLocked() {
	if h.rising != nil {
		close(h.rising)
		h.rising = nil
	}
}

// pruneLocked forgets what is too old, or too much.
func (h *History) pruneLocked() {
	old := time.Now().Add(-h.limits.MaxDisconnection).UnixNano()
	for _, l := range h.origins {
		for len(l.entries) > 0 && l.entries[0].came < old {
			h.shiftLocked(l)
		}
	}
	for h.packets > h.limits.MaxPackets || h.bytes > h.limits.MaxBytes && h.packets > 1 {
		var first *list
		for _, l := range h.origins {
			if len(l.entries) > 0 && (first == nil || l.entries[0].came < first.entries[0].came) {
				first = l
			}
		}
		h.shiftLocked(first)
	}
}

// shiftLocked forgets the oldest of l.
func (h *History) shiftLocked(l *list) {
	e := l.entries[0]
	l.entries[0] = nil
	l.entries = l.entries[1:]
	l.floor = e.Seq
	h.packets--
	h.bytes -= e.Size()
	h.idleLocked(l)
}

// deliverLocked delivers p with its offset to the local sockets that o addresses, and
// returns those that took it. e is nil for what is not kept. If before is not 0, those
// that have come after it are left out.
func (h *History) deliverLocked(p *Packet, o Opts, e *Entry, before int64) []Socket {
	offset := h.vectorLocked().String()
	p.Data = parser.AppendElement(p.Data, offset)
	p.shipped = nil // what another worker has encoded is without it
	sockets := h.memory.appendTo(nil, o)
	wanted := sockets[:0]
	for _, s := range sockets {
		r := s.Membership().recall
		if before != 0 && r.begun > before {
			continue
		}
		if e != nil {
			r.last.Store(&offset)
		}
		wanted = append(wanted, s)
	}
	took := deliver(wanted, p, o.Flags)
	// Not before: who leaves meanwhile may have been left out.
	h.offset.Store(&offset)
	return took
}

func tell(sockets []Socket, p *Packet) {
	for _, s := range sockets {
		s.Delivered(p)
	}
}

// After returns what is kept of an origin after a number, and up to which nothing is.
func (h *History) After(o Origin, seq uint64) (floor uint64, entries []*Entry) {
	h.fanning.Lock()
	defer h.fanning.Unlock()
	l := h.origins[o]
	if l == nil {
		return 0, nil
	}
	return l.floor, slices.Clone(l.after(seq))
}

func (l *list) after(seq uint64) []*Entry {
	if seq >= l.have {
		return nil
	}
	n := int(min(l.have-seq, uint64(len(l.entries))))
	return l.entries[len(l.entries)-n:]
}

// added begins to know a socket.
func (h *History) added(s Socket) {
	r := s.Membership().recall
	if r == nil { // else it was restored
		s.Membership().recall = &recall{since: *h.offset.Load(), begun: time.Now().UnixNano()}
	}
	if back, ok := s.(Returner); ok {
		if pid := back.PID(); pid != "" {
			h.mu.Lock()
			h.here[pid] = s
			h.mu.Unlock()
		}
	}
}

func (e *Entry) wanted(own []Room) bool {
	return (len(e.Rooms) == 0 || overlap(own, e.Rooms)) && !overlap(own, e.Except)
}

func overlap(a, b []Room) bool {
	return slices.ContainsFunc(a, func(r Room) bool { return slices.Contains(b, r) })
}

// Restore makes a socket of s by back, with what it has missed, and is false where not all
// of that is kept. Before that it waits until this worker has what the client has, and what
// the one had that it left: an event that was kept there for the client may have been sent
// after another that is still on its way to this worker. It waits until ctx ends. back is
// that of Adapter.Restore.
func (h *History) Restore(ctx context.Context, s *Session, offset string, back func(SavedSession) Socket) (bool, error) {
	v, ok := s.position(offset)
	if !ok {
		return false, nil
	}
	awaited := maps.Clone(v)
	left, _ := ParseVector(s.Left)
	awaited.raise(left, true)
	h.fanning.Lock()
	for {
		behind, hopeless := h.behindLocked(awaited)
		if hopeless {
			h.fanning.Unlock()
			return false, nil
		}
		if !behind {
			break
		}
		if h.rising == nil {
			h.rising = make(chan struct{})
		}
		rising := h.rising
		h.fanning.Unlock()
		select {
		case <-rising:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		h.fanning.Lock()
	}
	missed, ok := h.missedLocked(s, v)
	if !ok {
		h.fanning.Unlock()
		return false, nil
	}
	r := &recall{carry: s.carried(v)}
	if private := h.self.private(); s.Home != private {
		v[private] = h.origins[private].have // none of it was for this client
	}
	// What it has now, and not what it has missed: it may lose its connection before it gets
	// that.
	r.since = v.String()
	for _, e := range missed {
		v[e.Origin] = e.Seq
		at := v.String()
		r.last.Store(&at)
		s.Missed = append(s.Missed, e.packet(parser.AppendElement(e.Data, at)))
	}
	socket := back(s.SavedSession)
	socket.Membership().recall = r
	h.memory.Add(socket)
	h.memory.Join(socket, s.Rooms...)
	h.fanning.Unlock()
	for _, p := range s.Missed {
		socket.Delivered(p)
	}
	return true, nil
}

// behindLocked tells whether events of v have not come yet, or cannot come.
func (h *History) behindLocked(v Vector) (behind, hopeless bool) {
	for o, n := range v {
		if strings.HasSuffix(string(o), "-") {
			continue
		}
		if l := h.origins[o]; l == nil && n > 0 || l != nil && l.have < n {
			behind = true
			hopeless = hopeless || o == h.self
		}
	}
	return behind, hopeless
}

// missedLocked is what s has missed, in the order in which it was sent; false if some of
// it is not kept any more.
func (h *History) missedLocked(s *Session, v Vector) (missed []*Entry, ok bool) {
	h.pruneLocked()
	own := append([]Room{Room(s.ID)}, s.Rooms...)
	for o, l := range h.origins {
		seq, known := v[o]
		if o == h.self.private() && s.Home != o {
			continue // it was sent while the client was elsewhere
		}
		if seq < l.floor && (known || h.told(l)) {
			return nil, false
		}
		for _, e := range l.after(seq) {
			if e.wanted(own) {
				missed = append(missed, e)
			}
		}
	}
	if seq, known := v[s.Home]; known && seq < s.Floor {
		return nil, false
	}
	missed = append(missed, s.carried(v)...)
	slices.SortStableFunc(missed, func(a, b *Entry) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Origin, b.Origin))
	})
	// What the client could not take of this worker's own comes back with it.
	return slices.CompactFunc(missed, func(a, b *Entry) bool { return a.Origin == b.Origin && a.Seq == b.Seq }), true
}
