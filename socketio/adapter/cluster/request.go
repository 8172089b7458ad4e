package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/parser"
)

// What stands among answers, and is none.
const (
	opLeft   op = 0    // a worker has gone
	opJoined op = 0xff // one has come
)

// answer is what a request gets from another worker.
type answer struct {
	from   Worker
	what   op
	fields reader
	raw    *parser.Raw // of a local socket
}

// request waits for the answers of other workers. They are told from anywhere, and looked
// into by who asks.
type request struct {
	adapter *Adapter
	id      uint64
	waiting map[Worker]bool // of who asks alone

	mu      sync.Mutex // guards what follows
	answers []answer
	more    chan struct{} // holds a value when there are answers
}

// begin makes a request of all others.
func (a *Adapter) begin() *request {
	q := &request{adapter: a, id: a.ids.Add(1), waiting: map[Worker]bool{}, more: make(chan struct{}, 1)}
	a.mu.Lock()
	a.requests[q.id] = q
	a.mu.Unlock()
	// After that, so that none can leave unnoticed.
	for _, w := range a.bus.Others() {
		q.waiting[w] = true
	}
	return q
}

func (q *request) end() {
	q.adapter.mu.Lock()
	delete(q.adapter.requests, q.id)
	q.adapter.mu.Unlock()
}

func (q *request) tell(a answer) {
	q.mu.Lock()
	q.answers = append(q.answers, a)
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default:
	}
}

func (q *request) take() []answer {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.answers
	q.answers = nil
	return all
}

// gather asks all others, and calls each for every answer until all have given theirs.
func (a *Adapter) gather(ctx context.Context, what op, fields func(*writer), each func(*reader) error) error {
	if len(a.bus.Others()) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	q := a.begin()
	defer q.end()
	w := newWriter(what, 0)
	w.number(q.id)
	fields(w)
	if err := a.bus.Broadcast(w.b); err != nil {
		return err
	}
	var lost error
	for len(q.waiting) > 0 {
		select {
		case <-q.more:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", adapter.ErrPartial, ctx.Err())
		}
		for _, one := range q.take() {
			if one.what == opJoined || !q.waiting[one.from] {
				continue
			}
			delete(q.waiting, one.from)
			if one.what == opLeft {
				lost = adapter.ErrPartial
				continue
			}
			if err := errors.Join(each(&one.fields), one.fields.err()); err != nil {
				lost = fmt.Errorf("%w: %w", adapter.ErrPartial, err)
			}
		}
	}
	return lost
}

// Fetch implements adapter.Adapter.
func (a *Adapter) Fetch(ctx context.Context, o adapter.Opts) ([]adapter.Description, error) {
	found, err := a.Memory.Fetch(ctx, o)
	if err != nil || a.here(o) {
		return found, err
	}
	err = a.gather(ctx, opFetch, func(w *writer) { w.opts(o) }, func(r *reader) error {
		var theirs []adapter.Description
		err := json.Unmarshal(r.bytes(), &theirs)
		found = append(found, theirs...)
		return err
	})
	return found, err
}

// AllRooms implements adapter.Adapter.
func (a *Adapter) AllRooms(ctx context.Context) ([]adapter.Room, error) {
	all, err := a.Memory.AllRooms(ctx)
	if err != nil {
		return all, err
	}
	known := make(map[adapter.Room]bool, len(all))
	for _, r := range all {
		known[r] = true
	}
	err = a.gather(ctx, opAllRooms, func(*writer) {}, func(r *reader) error {
		for _, room := range r.rooms() {
			if !known[room] {
				known[room] = true
				all = append(all, room)
			}
		}
		return nil
	})
	return all, err
}

// ServerSideEmit implements adapter.Adapter.
func (a *Adapter) ServerSideEmit(data json.RawMessage) error {
	if len(a.bus.Others()) == 0 {
		return nil
	}
	w := newWriter(opServerSide, len(data))
	w.number(0)
	w.bytes(data)
	return a.bus.Broadcast(w.b)
}

// ServerSideEmitAck implements adapter.Adapter.
func (a *Adapter) ServerSideEmitAck(ctx context.Context, data json.RawMessage) ([]json.RawMessage, error) {
	var answers []json.RawMessage
	err := a.gather(ctx, opServerSide, func(w *writer) { w.bytes(data) }, func(r *reader) error {
		answers = append(answers, r.bytes())
		return nil
	})
	return answers, err
}

// BroadcastAck implements adapter.Adapter.
func (a *Adapter) BroadcastAck(ctx context.Context, p *adapter.Packet, o adapter.Opts, ack func(parser.Raw)) (int, error) {
	if a.here(o) || len(a.bus.Others()) == 0 {
		return a.Memory.BroadcastAck(ctx, p, o, ack)
	}
	q := a.begin()
	defer q.end()
	w := newWriter(opAsk, sizeOf(p))
	w.number(q.id)
	w.number(flagIf(p.Uncompressed, flagUncompressed))
	w.opts(o)
	w.bytes(p.Data)
	w.list(p.Attachments)
	if err := a.bus.Broadcast(w.b); err != nil {
		return 0, err
	}
	defer func() {
		end := newWriter(opEnough, 0)
		end.number(q.id)
		_ = a.bus.Broadcast(end.b)
	}()
	local := a.askLocal(p, o, q)
	defer func() {
		for _, f := range local {
			f()
		}
	}()
	expected := len(local)
	missing := map[Worker]int{"": expected} // acks that are still to come
	open := func() bool {
		if len(q.waiting) > 0 {
			return true
		}
		for _, n := range missing {
			if n > 0 {
				return true
			}
		}
		return false
	}
	var lost error
	for open() {
		select {
		case <-q.more:
		case <-ctx.Done():
			return expected, ctx.Err()
		}
		for _, one := range q.take() {
			switch one.what {
			case opAsked:
				if n := int(one.fields.number()); q.waiting[one.from] && one.fields.err() == nil {
					delete(q.waiting, one.from)
					expected += n
					missing[one.from] += n
				}
			case opAck:
				r := one.raw
				if r == nil {
					r = &parser.Raw{JSON: one.fields.bytes(), Attachments: one.fields.list()}
					if one.fields.err() != nil {
						continue
					}
				}
				missing[one.from]--
				ack(*r)
			case opLeft:
				if q.waiting[one.from] || missing[one.from] > 0 {
					lost = adapter.ErrPartial // its clients' answers do not come any more
				}
				delete(q.waiting, one.from)
				delete(missing, one.from)
			}
		}
	}
	return expected, lost
}

// askLocal asks the local sockets for q, and returns what forgets that.
func (a *Adapter) askLocal(p *adapter.Packet, o adapter.Opts, q *request) (forget []func()) {
	a.Each(o, func(s adapter.Socket) bool {
		forget = append(forget, s.DeliverAck(p, func(r parser.Raw) { q.tell(answer{what: opAck, raw: &r}) }))
		return true
	})
	return forget
}
