package adapter

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"github.com/chaussette/chaussette/socketio/parser"
)

// Membership is the rooms of one socket. It lies inside of the socket, so that a room
// costs nothing for those that are in none.
type Membership struct {
	first  *member // by next; guarded by the Memory's mu
	added  bool
	recall *recall // with recovery; set before it is added
}

// member is one socket in one room.
type member struct {
	socket Socket
	room   *room
	next   *member // of the same socket
	place  int     // in room.members
}

type room struct {
	name    Room
	members []*member
}

// Memory is the Adapter of a worker that is alone.
type Memory struct {
	mu      sync.RWMutex // guards what follows; not held while delivering
	sockets map[SocketID]Socket
	rooms   map[Room]*room
	watch   func(Room, bool) // nil where nobody does

	log *History // for recovery; nil without
}

// NewMemory returns an empty adapter.
func NewMemory() *Memory {
	return &Memory{sockets: map[SocketID]Socket{}, rooms: map[Room]*room{}}
}

// InMemory is the Factory of NewMemory.
func InMemory(string, Handler) (Adapter, error) { return NewMemory(), nil }

var _ Adapter = (*Memory)(nil)

// OnRooms has f called with true when a room has got its first socket, and with false
// when its last has left; the rooms of ids are among them. f is called in the order in
// which that happens; it does not block, and calls no method of a. OnRooms is called
// before anything else.
func (a *Memory) OnRooms(f func(r Room, filled bool)) { a.watch = f }

func (a *Memory) tellLocked(r Room, filled bool) {
	if a.watch != nil {
		a.watch(r, filled)
	}
}

// Add implements Adapter.
func (a *Memory) Add(s Socket) {
	if a.log != nil {
		a.log.added(s)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Membership().added = true
	a.sockets[s.ID()] = s
	a.tellLocked(Room(s.ID()), true)
	if l, ok := s.(Roomer); ok {
		l.Joined(Room(s.ID()))
	}
}

// Remove implements Adapter.
func (a *Memory) Remove(s Socket) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := s.Membership()
	if !m.added {
		return
	}
	m.added = false
	if a.log != nil {
		// Not later: what is broadcast from now on is not for it.
		m.recall.left = *a.log.offset.Load()
	}
	l, listens := s.(Roomer)
	for r := m.first; r != nil; r = r.next {
		a.dropLocked(r)
		if listens {
			l.Left(r.room.name)
		}
	}
	m.first = nil
	if a.sockets[s.ID()] == s {
		delete(a.sockets, s.ID())
		a.tellLocked(Room(s.ID()), false)
	}
	if listens {
		l.Left(Room(s.ID()))
	}
}

// dropLocked takes m out of its room.
func (a *Memory) dropLocked(m *member) {
	r := m.room
	end := len(r.members) - 1
	last := r.members[end]
	r.members[m.place], last.place = last, m.place
	r.members[end] = nil
	r.members = r.members[:end]
	if end == 0 {
		delete(a.rooms, r.name)
		a.tellLocked(r.name, false)
	}
}

// Join implements Adapter.
func (a *Memory) Join(s Socket, rooms ...Room) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := s.Membership()
	if !m.added {
		return
	}
	l, listens := s.(Roomer)
next:
	for _, name := range rooms {
		if name == Room(s.ID()) || a.sockets[SocketID(name)] != nil {
			continue // its own, or another's
		}
		for r := m.first; r != nil; r = r.next {
			if r.room.name == name {
				continue next
			}
		}
		r := a.rooms[name]
		if r == nil {
			r = &room{name: name}
			a.rooms[name] = r
			a.tellLocked(name, true)
		}
		m.first = &member{s, r, m.first, len(r.members)}
		r.members = append(r.members, m.first)
		if listens {
			l.Joined(name)
		}
	}
}

// Leave implements Adapter.
func (a *Memory) Leave(s Socket, rooms ...Room) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l, listens := s.(Roomer)
	for at := &s.Membership().first; *at != nil; {
		if m := *at; slices.Contains(rooms, m.room.name) {
			*at = m.next
			a.dropLocked(m)
			if listens {
				l.Left(m.room.name)
			}
		} else {
			at = &m.next
		}
	}
}

// Rooms implements Adapter.
func (a *Memory) Rooms(s Socket) []Room {
	a.mu.RLock()
	defer a.mu.RUnlock()
	m := s.Membership()
	if !m.added {
		return nil
	}
	rooms := []Room{Room(s.ID())}
	for r := m.first; r != nil; r = r.next {
		rooms = append(rooms, r.room.name)
	}
	slices.Reverse(rooms[1:]) // as they were joined
	return rooms
}

// Local implements Adapter.
func (a *Memory) Local(id SocketID) Socket {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.sockets[id]
}

var snapshots = sync.Pool{New: func() any { return new([]Socket) }}

// Each implements Adapter.
func (a *Memory) Each(o Opts, f func(Socket) bool) {
	a.some(o, func(sockets []Socket) {
		for _, s := range sockets {
			if !f(s) {
				return
			}
		}
	})
}

// some calls f with the sockets that o addresses.
func (a *Memory) some(o Opts, f func([]Socket)) {
	snapshot := snapshots.Get().(*[]Socket)
	sockets := a.appendTo((*snapshot)[:0], o)
	defer func() {
		clear(sockets) // so that the pool keeps no socket alive
		*snapshot = sockets[:0]
		snapshots.Put(snapshot)
	}()
	f(sockets)
}

// appendTo appends the sockets that o addresses.
func (a *Memory) appendTo(list []Socket, o Opts) []Socket {
	a.mu.RLock()
	defer a.mu.RUnlock()
	except := func(Socket) bool { return false }
	if len(o.Except) > 0 {
		except = func(s Socket) bool { return in(s, o.Except) }
	}
	if len(o.Rooms) == 0 {
		for _, s := range a.sockets {
			if !except(s) {
				list = append(list, s)
			}
		}
		return list
	}
	for i, name := range o.Rooms {
		// A socket that is in several of the rooms is taken for the first.
		before := o.Rooms[:i]
		if s := a.sockets[SocketID(name)]; s != nil && !except(s) && !in(s, before) {
			list = append(list, s)
		}
		r := a.rooms[name]
		if r == nil {
			continue
		}
		list = slices.Grow(list, len(r.members))
		for _, m := range r.members {
			if !except(m.socket) && (len(before) == 0 || !in(m.socket, before)) {
				list = append(list, m.socket)
			}
		}
	}
	return list
}

// in tells whether s is in any of rooms. The Memory is locked.
func in(s Socket, rooms []Room) bool {
	if slices.Contains(rooms, Room(s.ID())) {
		return true
	}
	for m := s.Membership().first; m != nil; m = m.next {
		if slices.Contains(rooms, m.room.name) {
			return true
		}
	}
	return false
}

// Broadcast implements Adapter.
func (a *Memory) Broadcast(p *Packet, o Opts) error {
	if a.log != nil {
		return a.log.Emit(p, o, nil, nil)
	}
	a.some(o, func(sockets []Socket) { tell(deliver(sockets, p, o.Flags), p) })
	return nil
}

// deliver delivers p to sockets, and returns those that took it, in the same memory.
func deliver(sockets []Socket, p *Packet, f Flags) []Socket {
	if len(sockets) > 1 {
		if fan, ok := sockets[0].(Fan); ok {
			return fan.DeliverTo(sockets, p, f)
		}
	}
	took := sockets[:0]
	for _, s := range sockets {
		if s.Deliver(p, f) {
			took = append(took, s)
		}
	}
	return took
}

// History is what the Memory keeps for those who come back; nil without recovery.
func (a *Memory) History() *History { return a.log }

// BroadcastAck implements Adapter.
func (a *Memory) BroadcastAck(ctx context.Context, p *Packet, o Opts, ack func(parser.Raw)) (int, error) {
	var sockets []Socket
	sockets = a.appendTo(sockets, o)
	answers := make(chan parser.Raw, len(sockets))
	forget := make([]func(), 0, len(sockets))
	for _, s := range sockets {
		forget = append(forget, s.DeliverAck(p, func(r parser.Raw) { answers <- r }))
	}
	defer func() {
		for _, f := range forget {
			f()
		}
	}()
	for range sockets {
		select {
		case r := <-answers:
			ack(r)
		case <-ctx.Done():
			return len(sockets), ctx.Err()
		}
	}
	return len(sockets), nil
}

// JoinAll implements Adapter.
func (a *Memory) JoinAll(o Opts, rooms ...Room) error {
	a.Each(o, func(s Socket) bool { a.Join(s, rooms...); return true })
	return nil
}

// LeaveAll implements Adapter.
func (a *Memory) LeaveAll(o Opts, rooms ...Room) error {
	a.Each(o, func(s Socket) bool { a.Leave(s, rooms...); return true })
	return nil
}

// DisconnectAll implements Adapter.
func (a *Memory) DisconnectAll(o Opts, closing bool) error {
	a.Each(o, func(s Socket) bool { s.Disconnect(closing); return true })
	return nil
}

// Fetch implements Adapter.
func (a *Memory) Fetch(_ context.Context, o Opts) ([]Description, error) {
	var found []Description
	a.Each(o, func(s Socket) bool {
		d := s.Describe()
		if d.Rooms = a.Rooms(s); d.Rooms != nil {
			found = append(found, d)
		}
		return true
	})
	return found, nil
}

// AllRooms implements Adapter.
func (a *Memory) AllRooms(context.Context) ([]Room, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	all := make([]Room, 0, len(a.rooms)+len(a.sockets))
	for name := range a.rooms {
		all = append(all, name)
	}
	for id := range a.sockets {
		all = append(all, Room(id))
	}
	return all, nil
}

// ServerSideEmit implements Adapter: there is nobody else.
func (a *Memory) ServerSideEmit(json.RawMessage) error { return nil }

// ServerSideEmitAck implements Adapter.
func (a *Memory) ServerSideEmitAck(context.Context, json.RawMessage) ([]json.RawMessage, error) {
	return nil, nil
}

// Workers implements Adapter.
func (a *Memory) Workers(context.Context) (int, error) { return 1, nil }

// Close implements Adapter.
func (a *Memory) Close() error { return nil }
