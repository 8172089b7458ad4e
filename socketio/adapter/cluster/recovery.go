package cluster

import (
	"context"
	"encoding/json"
	"maps"
	"sync"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter"
)

// Settler may be implemented by a Bus that does not know at once who shares the
// namespace.
type Settler interface {
	// Settle returns when Others is known, or ctx ends. A Bus that has nothing but the time
	// to go by waits for as long as others take as a rule; with late set also for those that
	// take longer. Who comes later is told by Joined in any case.
	Settle(ctx context.Context, late bool)
}

// searching is how long the others may take to say whether they have a session: the
// client waits. One that has a handler running for it says so when that has ended.
const searching = 2 * time.Second

// askAgain is after what time a worker is asked for events again.
const askAgain = time.Second

// chunk is about how many bytes of events go into a message.
const chunk = 256 << 10

// told is what an Adapter with recovery knows of the others. It is guarded by the
// Adapter's mu.
type told struct {
	self  map[Worker]adapter.Origin
	asked map[adapter.Origin]asked // and not answered
}

type asked struct {
	worker Worker
	at     time.Time
	upTo   uint64
}

// Joined says that a worker has come, which Others holds from now on.
func (a *Adapter) Joined(w Worker) {
	a.mu.Lock()
	for _, q := range a.requests {
		q.tell(answer{from: w, what: opJoined})
	}
	a.mu.Unlock()
	if h := a.History(); h != nil {
		_ = a.bus.Send(w, a.sync(h))
	} else if a.forms.own.Load() != 0 {
		_ = a.bus.Send(w, a.wants())
	}
}

// sync says what events this worker has: who has less asks for them.
func (a *Adapter) sync(h *adapter.History) []byte {
	w := newWriter(opSync, 0)
	w.string(string(h.Self()))
	v := h.Vector()
	w.number(uint64(len(v)))
	for o, n := range v {
		w.string(string(o))
		w.number(n)
	}
	return w.b
}

// leftHistory makes up what a worker that has left may have told some of the others only.
func (a *Adapter) leftHistory(worker Worker) {
	h := a.History()
	if h == nil {
		return
	}
	a.mu.Lock()
	o, known := a.told.self[worker]
	delete(a.told.self, worker)
	for o, one := range a.told.asked {
		if one.worker == worker {
			delete(a.told.asked, o)
		}
	}
	a.mu.Unlock()
	if known {
		h.SetAlive(o, false)
		if len(a.bus.Others()) > 0 {
			_ = a.bus.Broadcast(a.sync(h))
		}
	}
}

// emit is Broadcast with recovery.
func (a *Adapter) emit(h *adapter.History, p *adapter.Packet, o adapter.Opts) error {
	here := func() bool { return a.here(o) }
	err := h.Emit(p, o, here, func(e *adapter.Entry) error {
		switch {
		case len(a.bus.Others()) == 0:
			return nil // who comes asks for it
		case e == nil:
			return a.bus.Broadcast(a.broadcast(p, o))
		}
		w := newWriter(opEvent, e.Size())
		w.entry(e)
		return a.bus.Broadcast(w.b)
	})
	if g, ok := a.bus.(*group); ok {
		// Who has joined since the group was made may have been told before what there is,
		// and would hear of this event with the next one only.
		for _, w := range g.newcomers() {
			a.Joined(w)
		}
	}
	return err
}

// took takes an event of another worker.
func (a *Adapter) took(from Worker, e *adapter.Entry) error {
	h := a.History()
	if h == nil { // this worker has no recovery
		p := a.packet(e.Data, e.Attachments)
		p.Uncompressed = e.Uncompressed
		return a.Memory.Broadcast(p, adapter.Opts{Rooms: e.Rooms, Except: e.Except})
	}
	if h.Take(e) {
		return nil
	}
	// It was on the way when this worker came, or came back.
	a.want(h, from, e.Origin, e.Seq, false)
	return nil
}

// want asks for what comes after that which is here, up to a number at least. Without
// more set it does not while an answer is on the way: that is looked at when it comes.
func (a *Adapter) want(h *adapter.History, from Worker, o adapter.Origin, upTo uint64, more bool) {
	a.mu.Lock()
	before := a.told.asked[o]
	if time.Since(before.at) < askAgain && (!more || before.upTo >= upTo) {
		before.upTo = max(before.upTo, upTo)
		a.told.asked[o] = before
		a.mu.Unlock()
		return
	}
	a.told.asked[o] = asked{from, time.Now(), max(before.upTo, upTo)}
	a.mu.Unlock()
	w := newWriter(opWant, 0)
	w.string(string(o))
	w.number(h.Have(o))
	_ = a.bus.Send(from, w.b)
}

func (a *Adapter) receiveSync(from Worker, r *reader) error {
	self := adapter.Origin(r.bytes())
	n := r.count()
	v := make(adapter.Vector, n)
	for range n {
		o := adapter.Origin(r.bytes())
		v[o] = r.number()
	}
	h := a.History()
	if err := r.err(); err != nil || h == nil {
		return err
	}
	a.mu.Lock()
	a.told.self[from] = self
	a.mu.Unlock()
	h.SetAlive(self, true)
	for o, n := range v {
		if o != h.Self() && n > h.Have(o) {
			a.want(h, from, o, n, true)
		}
	}
	return nil
}

// receiveWant answers with events, in messages that are not too large.
func (a *Adapter) receiveWant(from Worker, r *reader) error {
	o, seq := adapter.Origin(r.bytes()), r.number()
	h := a.History()
	if err := r.err(); err != nil || h == nil {
		return err
	}
	floor, entries := h.After(o, seq)
	for first := true; first || len(entries) > 0; first = false {
		n, size := 0, 0
		for n < len(entries) && (n == 0 || size+entries[n].Size() <= chunk) {
			size += entries[n].Size()
			n++
		}
		w := newWriter(opHistory, size)
		w.number(map[bool]uint64{true: 1}[n < len(entries)])
		w.string(string(o))
		w.number(floor)
		w.entries(entries[:n])
		if err := a.bus.Send(from, w.b); err != nil {
			return nil // it has left
		}
		if n > 0 {
			floor = entries[n-1].Seq
		}
		entries = entries[n:]
	}
	return nil
}

func (a *Adapter) receiveHistory(from Worker, r *reader) error {
	more, o, floor, entries := r.number() == 1, adapter.Origin(r.bytes()), r.number(), a.entries(r)
	h := a.History()
	if err := r.err(); err != nil || h == nil {
		return err
	}
	for _, e := range entries {
		if e.Origin != o {
			return errMessage
		}
	}
	h.Fill(o, floor, entries)
	if more {
		return nil
	}
	a.mu.Lock()
	upTo := a.told.asked[o].upTo
	delete(a.told.asked, o)
	a.mu.Unlock()
	if h.Have(o) < upTo && len(entries) > 0 { // sent while the answer was made
		a.want(h, from, o, upTo, false)
	}
	return nil
}

// receiveTake looks for a session that a client has come back for.
func (a *Adapter) receiveTake(from Worker, r *reader) error {
	id, pid := r.number(), string(r.bytes())
	h := a.History()
	if err := r.err(); err != nil {
		return err
	}
	none := func() { a.reply(from, opTaken, id, func(w *writer) { w.bytes(nil); w.entries(nil) }) }
	if h == nil {
		none()
		return nil
	}
	h.Withdraw(pid, func(s *adapter.Session) {
		if s == nil {
			none()
			return
		}
		h.Pack(s)
		a.reply(from, opTaken, id, func(w *writer) { w.session(s) })
	})
	return nil
}

func (a *Adapter) receiveSaved(r *reader) error {
	s, err := a.session(r)
	if h := a.History(); h != nil && err == nil && s != nil {
		h.Keep(s)
	}
	return err
}

func (a *Adapter) receiveForget(r *reader) error {
	pid := string(r.bytes())
	if h := a.History(); h != nil && r.err() == nil {
		h.Drop(pid)
	}
	return r.err()
}

// closeHistory gives the sessions that clients may still come back for to all others, and
// waits until those have them: a worker that comes next asks them, and not this one.
func (a *Adapter) closeHistory() {
	h := a.History()
	if h == nil || len(a.bus.Others()) == 0 {
		return
	}
	for _, s := range h.Copies() {
		h.Pack(s)
		w := newWriter(opSaved, 0)
		w.session(s)
		if err := a.bus.Broadcast(w.b); err != nil {
			return
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), searching)
	defer cancel()
	// Answers come after what was sent before.
	_ = a.gather(ctx, opTake, func(w *writer) { w.string("") }, func(r *reader) error {
		_, err := a.session(r)
		return err
	})
}

// Restore implements adapter.Adapter: it finds the session on whatever worker it is.
func (a *Adapter) Restore(ctx context.Context, pid, offset string, back func(adapter.SavedSession) adapter.Socket) (bool, error) {
	h := a.History()
	if h == nil || pid == "" {
		return false, nil
	}
	s := h.WithdrawWithin(ctx, pid)
	if s == nil || s.Copied {
		s = adapter.Newer(s, a.search(ctx, pid))
		// A worker that has just left may have left it here.
		s = adapter.Newer(s, h.WithdrawWithin(ctx, pid))
	}
	if s == nil {
		return false, nil
	}
	if len(a.bus.Others()) > 0 {
		w := newWriter(opForget, 0)
		w.string(pid)
		_ = a.bus.Broadcast(w.b)
	}
	return h.Restore(ctx, s, offset, back)
}

// search asks the others for a session, and those who join meanwhile: the worker that has
// it may be busy, and say only then that it is there. A copy is taken when Others is known;
// that nobody has the session is believed when nobody is late any more.
func (a *Adapter) search(ctx context.Context, pid string) (found *adapter.Session) {
	var settling sync.WaitGroup
	defer settling.Wait()
	ctx, cancel := context.WithTimeout(ctx, searching)
	defer cancel()
	var known, complete chan struct{} // closed when they are; nil from then on
	if s, ok := a.bus.(Settler); ok {
		known, complete = make(chan struct{}), make(chan struct{})
		first, last := known, complete
		settling.Go(func() {
			s.Settle(ctx, false)
			close(first)
			s.Settle(ctx, true)
			close(last)
		})
	}
	q := a.begin()
	defer q.end()
	w := newWriter(opTake, 0)
	w.number(q.id)
	w.string(pid)
	asked := maps.Clone(q.waiting)
	if len(asked) > 0 {
		_ = a.bus.Broadcast(w.b) // who is not reached is told of by Left
	}
	for len(q.waiting) > 0 || complete != nil && (found == nil || known != nil) {
		select {
		case <-q.more:
		case <-known:
			known = nil
		case <-complete:
			known, complete = nil, nil
		case <-ctx.Done():
			return found
		}
		for _, one := range q.take() {
			switch one.what {
			case opJoined:
				if !asked[one.from] {
					asked[one.from], q.waiting[one.from] = true, true
					_ = a.bus.Send(one.from, w.b)
				}
			case opLeft:
				delete(q.waiting, one.from)
			case opTaken:
				delete(q.waiting, one.from)
				s, _ := a.session(&one.fields)
				if found = adapter.Newer(found, s); s != nil && !s.Copied {
					return found
				}
			}
		}
	}
	return found
}

// about is a session without what a writer writes itself.
type about struct {
	PID, ID           string
	Rooms             []adapter.Room
	Data              json.RawMessage `json:",omitempty"`
	At                time.Time
	Home              adapter.Origin
	Floor             uint64
	Since, Last, Left string
	Copied            bool `json:",omitempty"`
}

func (w *writer) session(s *adapter.Session) {
	data, ok := s.Data.(adapter.EncodedData)
	if !ok && s.Data != nil {
		data, _ = json.Marshal(s.Data) // what cannot be encoded stays behind
	}
	encoded, _ := json.Marshal(about{s.PID, string(s.ID), s.Rooms, json.RawMessage(data), s.At, s.Home, s.Floor, s.Since, s.Last, s.Left, s.Copied})
	w.bytes(encoded)
	w.entries(s.Private)
}

// session reads one; nil is none.
func (a *Adapter) session(r *reader) (*adapter.Session, error) {
	encoded, private := r.bytes(), a.entries(r)
	if err := r.err(); err != nil || len(encoded) == 0 {
		return nil, err
	}
	var b about
	if err := json.Unmarshal(encoded, &b); err != nil {
		return nil, errMessage
	}
	s := &adapter.Session{At: b.At, Home: b.Home, Floor: b.Floor, Since: b.Since, Last: b.Last, Left: b.Left, Private: private, Copied: b.Copied,
		SavedSession: adapter.SavedSession{PID: b.PID, ID: adapter.SocketID(b.ID), Rooms: b.Rooms}}
	if len(b.Data) > 0 {
		s.Data = adapter.EncodedData(b.Data)
	}
	return s, nil
}

func (w *writer) entry(e *adapter.Entry) {
	w.string(string(e.Origin))
	w.number(e.Seq)
	w.number(uint64(e.At))
	w.number(flagIf(e.Uncompressed, flagUncompressed))
	w.opts(adapter.Opts{Rooms: e.Rooms, Except: e.Except})
	w.bytes(e.Data)
	w.list(e.Attachments)
}

func (w *writer) entries(list []*adapter.Entry) {
	w.number(uint64(len(list)))
	for _, e := range list {
		w.entry(e)
	}
}

func (a *Adapter) entry(r *reader) *adapter.Entry {
	e := &adapter.Entry{Origin: adapter.Origin(r.bytes()), Seq: r.number(), At: int64(r.number()), Namespace: a.namespace,
		Uncompressed: r.number()&flagUncompressed != 0}
	o := r.opts()
	e.Rooms, e.Except, e.Data, e.Attachments = o.Rooms, o.Except, r.bytes(), r.list()
	return e
}

func (a *Adapter) entries(r *reader) []*adapter.Entry {
	n := r.count()
	if n == 0 {
		return nil
	}
	list := make([]*adapter.Entry, 0, min(n, 1024))
	for range n {
		list = append(list, a.entry(r))
		if r.bad {
			return nil
		}
	}
	return list
}
