package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/cluster"
	"github.com/chaussette/chaussette/socketio/parser"
)

// space is the adapter.Adapter of a namespace. What it embeds reaches this worker and its
// siblings; space does the rest.
type space struct {
	*cluster.Adapter
	broker    *Broker
	namespace string
	handler   adapter.Handler
	dialect   dialect
	ids       atomic.Uint64 // of packets that others have our sockets asked

	closed atomic.Bool

	mu       sync.Mutex // guards what follows
	requests map[string]*request
	numbers  uint64
	asking   map[*asking]bool
}

var _ adapter.Adapter = (*space)(nil)

// alone is the Bus of a worker without siblings.
type alone struct{}

func (alone) Others() []cluster.Worker          { return nil }
func (alone) Broadcast([]byte) error            { return nil }
func (alone) Send(cluster.Worker, []byte) error { return nil }
func (alone) Close() error                      { return nil }

func newSpace(b *Broker, namespace string, h adapter.Handler) *space {
	s := &space{broker: b, namespace: namespace, handler: h, requests: map[string]*request{}, asking: map[*asking]bool{}}
	memory := adapter.NewMemory()
	if r := b.options.Recovery; r != nil {
		memory = adapter.NewRecovering(*r)
	}
	if b.config.sharded == classic {
		s.dialect = newClassic(b, namespace)
	} else {
		d := newSharded(b, namespace)
		s.dialect = d
		memory.OnRooms(func(r adapter.Room, filled bool) {
			c, own := d.room(r)
			switch {
			case !own || s.closed.Load():
			case filled:
				b.link.subscribe([]channel{c}, s.received)
			default:
				b.link.unsubscribe([]channel{c})
			}
		})
	}
	if hub := b.options.Siblings; hub != nil {
		s.Adapter = hub.Adapter(namespace, memory, h)
	} else {
		s.Adapter = cluster.New(namespace, memory, alone{}, h)
	}
	return s
}

// here tells whether o is for this worker alone.
func (s *space) here(o adapter.Opts) bool {
	if o.Flags.Local {
		return true
	}
	for _, r := range o.Rooms {
		if s.Local(adapter.SocketID(r)) == nil {
			return false
		}
	}
	return len(o.Rooms) > 0
}

// send publishes e.
func (s *space) send(e *envelope, to *envelope) error {
	if !s.broker.link.isUp() {
		s.broker.report.Lost(1)
		return nil
	}
	e.uid = s.broker.uid
	e.near.group = s.broker.group
	m, err := s.dialect.encode(e, to)
	if err != nil {
		return fmt.Errorf("redis adapter: %w", err)
	}
	s.broker.link.publish(m)
	return nil
}

// tell sends e, which wants no answer, to all workers, and does the same by act among the
// siblings, which e names. A message to workers that cannot be reached is counted by the
// link.
func (s *space) tell(o adapter.Opts, e *envelope, act func(*cluster.Adapter) error) error {
	if s.here(o) {
		return act(s.Adapter)
	}
	near := s.Others()
	e.near.tags, e.opts = near, o
	// Before the local part, which may change the packet.
	err := s.send(e, nil)
	return errors.Join(act(s.Among(near)), err)
}

// Broadcast implements adapter.Adapter.
func (s *space) Broadcast(p *adapter.Packet, o adapter.Opts) error {
	e := &envelope{kind: broadcast, packet: parser.Raw{JSON: p.Data, Attachments: p.Attachments}, uncompressed: p.Uncompressed}
	return s.tell(o, e, func(a *cluster.Adapter) error { return a.Broadcast(p, o) })
}

// JoinAll implements adapter.Adapter.
func (s *space) JoinAll(o adapter.Opts, rooms ...adapter.Room) error {
	return s.tell(o, &envelope{kind: join, rooms: rooms}, func(a *cluster.Adapter) error { return a.JoinAll(o, rooms...) })
}

// LeaveAll implements adapter.Adapter.
func (s *space) LeaveAll(o adapter.Opts, rooms ...adapter.Room) error {
	return s.tell(o, &envelope{kind: leave, rooms: rooms}, func(a *cluster.Adapter) error { return a.LeaveAll(o, rooms...) })
}

// DisconnectAll implements adapter.Adapter.
func (s *space) DisconnectAll(o adapter.Opts, closing bool) error {
	return s.tell(o, &envelope{kind: disconnect, closing: closing}, func(a *cluster.Adapter) error { return a.DisconnectAll(o, closing) })
}

// ServerSideEmit implements adapter.Adapter.
func (s *space) ServerSideEmit(data json.RawMessage) error {
	e := &envelope{kind: serverSide, packet: parser.Raw{JSON: data}}
	return s.tell(adapter.Opts{}, e, func(a *cluster.Adapter) error { return a.ServerSideEmit(data) })
}

// Workers implements adapter.Adapter.
func (s *space) Workers(ctx context.Context) (int, error) {
	siblings := len(s.Others()) + 1
	n, err := s.dialect.workers(ctx)
	if err != nil {
		return siblings, fmt.Errorf("%w: %w", adapter.ErrPartial, err)
	}
	return max(n, siblings), nil
}

// Close implements adapter.Adapter.
func (s *space) Close() error {
	b := s.broker
	b.mu.Lock()
	delete(b.spaces, s)
	b.mu.Unlock()
	s.closed.Store(true)
	gone := s.dialect.channels()
	if d, ok := s.dialect.(*shardedDialect); ok {
		rooms, _ := s.Memory.AllRooms(context.Background())
		for _, r := range rooms {
			if c, own := d.room(r); own {
				gone = append(gone, c)
			}
		}
	}
	b.link.unsubscribe(gone)
	s.mu.Lock()
	all := s.asking
	s.asking = map[*asking]bool{}
	s.mu.Unlock()
	for k := range all {
		k.end()
	}
	s.interrupt()
	return s.Adapter.Close()
}

// received handles what comes from Redis. It does not block.
func (s *space) received(channel, payload string) {
	e, err := s.dialect.decode(channel, payload)
	if err != nil {
		s.broker.report.Bad(channel, err)
		return
	}
	if e != nil {
		s.handle(e)
	}
}

func (s *space) handle(e *envelope) {
	here := e.opts
	here.Flags.Local = true
	near := e.near.has(s.broker.group, s.broker.self)
	switch e.kind {
	case broadcast:
		if !near && !s.kept(e) {
			_ = s.Adapter.Broadcast(s.packet(e), here)
		}
	case join, leave, disconnect:
		if !near {
			s.move(e, here)
		}
	case ask:
		if near {
			s.answer(e, &envelope{kind: counted, skipped: true})
			return
		}
		s.ask(e, here)
	case fetch:
		var found []adapter.Description
		if !near {
			found, _ = s.Memory.Fetch(context.Background(), here)
		}
		s.answer(e, &envelope{kind: fetched, sockets: found, skipped: near})
	case fetchIDs:
		var ids []adapter.Room
		s.Each(here, func(one adapter.Socket) bool { ids = append(ids, adapter.Room(one.ID())); return true })
		s.answer(e, &envelope{kind: rooms, rooms: ids})
	case allRooms:
		var all []adapter.Room
		if !near {
			all, _ = s.Memory.AllRooms(context.Background())
		}
		s.answer(e, &envelope{kind: rooms, rooms: all, skipped: near})
	case serverSide:
		s.serverSide(e, near)
	default:
		s.mu.Lock()
		q := s.requests[e.request]
		s.mu.Unlock()
		if q != nil { // it may have ended
			q.tell(e)
		}
	}
}

// kept tells whether e comes by the siblings' history in any case: a sibling that did not
// know yet of this worker when it sent e is asked for it.
func (s *space) kept(e *envelope) bool {
	return s.History() != nil && !e.opts.Flags.Volatile && s.broker.group != "" && e.near.group == s.broker.group
}

func (s *space) packet(e *envelope) *adapter.Packet {
	return &adapter.Packet{Uncompressed: e.uncompressed,
		Packet: parser.Packet{Type: parser.Event, Namespace: s.namespace, Data: e.packet.JSON, Attachments: e.packet.Attachments}}
}

// answer answers e.
func (s *space) answer(e, with *envelope) {
	with.request = e.request
	if err := s.send(with, e); err != nil {
		s.broker.report.Bad("an answer", err)
	}
}

func (s *space) move(e *envelope, here adapter.Opts) {
	if e.request != "" && s.Local(adapter.SocketID(slices.Concat(here.Rooms, []adapter.Room{""})[0])) == nil {
		return // of an old version, which wants to hear from the worker that has the socket
	}
	switch e.kind {
	case join:
		_ = s.Adapter.JoinAll(here, e.rooms...)
	case leave:
		_ = s.Adapter.LeaveAll(here, e.rooms...)
	case disconnect:
		_ = s.Adapter.DisconnectAll(here, e.closing)
	}
	if e.request != "" {
		s.answer(e, &envelope{kind: done})
	}
}

func (s *space) serverSide(e *envelope, near bool) {
	switch {
	case near && e.request != "":
		s.answer(e, &envelope{kind: serverSided, skipped: true})
	case near:
	case e.request == "":
		s.handler.ServerSideEmit(e.packet.JSON, nil)
	default:
		s.handler.ServerSideEmit(e.packet.JSON, func(results json.RawMessage) {
			first, err := argument(parser.Raw{JSON: results})
			if err != nil {
				s.broker.report.Bad("an answer", err)
				return
			}
			s.answer(e, &envelope{kind: serverSided, packet: first})
		})
	}
}

// foreignID is where the ids of packets begin that workers on Redis have our sockets asked.
// Those of the namespace begin at 1, those of siblings at 2^40.
const foreignID = 1 << 41

// longestAsk is how long acks are waited for, for a worker that does not say how long it
// waits itself.
const longestAsk = 10 * time.Minute

// asking is a packet that another worker has our sockets asked.
type asking struct {
	mu      sync.Mutex // guards what follows
	ended   bool
	missing int
	forget  []func()
	timer   *time.Timer
}

// end forgets the acks that have not come.
func (k *asking) end() {
	k.mu.Lock()
	all := k.forget
	k.forget, k.ended = nil, true
	if k.timer != nil {
		k.timer.Stop()
	}
	k.mu.Unlock()
	for _, f := range all {
		f()
	}
}

// ask asks the local sockets for another worker.
func (s *space) ask(e *envelope, here adapter.Opts) {
	p := s.packet(e)
	p.HasID, p.ID = true, foreignID+s.ids.Add(1)
	var sockets []adapter.Socket
	s.Each(here, func(one adapter.Socket) bool { sockets = append(sockets, one); return true })
	s.answer(e, &envelope{kind: counted, count: len(sockets)})
	if len(sockets) == 0 {
		return
	}
	k := &asking{missing: len(sockets)}
	s.mu.Lock()
	s.asking[k] = true
	s.mu.Unlock()
	over := func() {
		s.mu.Lock()
		delete(s.asking, k)
		s.mu.Unlock()
		k.end()
	}
	for _, one := range sockets {
		forget := one.DeliverAck(p, func(r parser.Raw) {
			if first, err := argument(r); err == nil {
				s.answer(e, &envelope{kind: acked, packet: first})
			} else {
				s.broker.report.Bad("an ack", err)
			}
			k.mu.Lock()
			k.missing--
			last := k.missing == 0
			k.mu.Unlock()
			if last {
				over()
			}
		})
		k.mu.Lock()
		if k.ended {
			k.mu.Unlock()
			forget()
			continue
		}
		k.forget = append(k.forget, forget)
		k.mu.Unlock()
	}
	k.mu.Lock()
	if !k.ended {
		wait := here.Flags.Timeout
		if wait <= 0 {
			wait = longestAsk
		}
		k.timer = time.AfterFunc(wait, over)
	}
	k.mu.Unlock()
}
