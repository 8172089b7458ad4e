package ws

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"sync"
	"weak"
)

// Groups are the groups of a worker that have a name. Those of one name are one group on
// all workers that share a socket: what is sent to it on one of them reaches its
// connections on each. The zero value is ready, and its groups are this process's alone
// until Join. Its methods may be called from any goroutine.
//
// Apps have them by Conn.Group and GroupFrom.
type Groups struct {
	mu    sync.Mutex // guards what follows; not held while sending
	named map[string]weak.Pointer[Group]
	bus   Bus
}

// Bus carries what is sent to groups to the other workers.
type Bus interface {
	// Publish has Groups.Deliver called with the same on every other worker. What one
	// goroutine publishes arrives in order. It waits for nobody, keeps nothing of what it
	// is given, and says itself what is lost. The frames are those of Prepared.Wire.
	Publish(group string, frames []byte)
}

// maxGroupName is the longest name of a group, in bytes.
const maxGroupName = 1 << 10

// Group returns the group of this name, always the same one as long as anybody has it or a
// connection is in it. A name of more than 1024 bytes panics: it is the app's mistake.
func (s *Groups) Group(name string) *Group {
	if len(name) > maxGroupName {
		panic("websocket: the name of a group has more than 1024 bytes")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.named[name].Value(); g != nil {
		return g
	}
	g := &Group{name: name, groups: s}
	if s.named == nil {
		s.named = map[string]weak.Pointer[Group]{}
	}
	s.named[name] = weak.Make(g)
	runtime.AddCleanup(g, s.forget, name)
	return g
}

// forget removes a group that nobody has any more, unless there is another of its name.
func (s *Groups) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.named[name].Value() == nil {
		delete(s.named, name)
	}
}

// Join makes the groups those of all workers on b; nil makes them this one's again.
func (s *Groups) Join(b Bus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bus = b
}

func (s *Groups) publish(group string, p *Prepared) {
	s.mu.Lock()
	bus := s.bus
	s.mu.Unlock()
	if bus != nil {
		bus.Publish(group, p.Wire())
	}
}

// uncompressed marks the frame of such a message between workers.
const uncompressed = 0x10 // RSV3

// Wire returns p for another worker, which parses it: the frames of the messages without
// extensions, but that RSV3 stands for Message.Uncompressed. It must not be changed.
func (p *Prepared) Wire() []byte {
	if !slices.ContainsFunc(p.messages, func(m Message) bool { return m.Uncompressed }) {
		return p.plain
	}
	b := make([]byte, 0, len(p.plain))
	for _, m := range p.messages {
		first := byte(m.Type)
		if m.Uncompressed {
			first |= uncompressed
		}
		b = append(AppendHeader(b, first, len(m.Data)), m.Data...)
	}
	return b
}

// Deliver sends to the connections of this worker what another has published. It keeps
// frames, and waits for no connection. An error says that they are not what Publish gets.
func (s *Groups) Deliver(group string, frames []byte) error {
	p, err := ParsePrepared(frames)
	if err != nil {
		return err
	}
	s.mu.Lock()
	g := s.named[group].Value()
	s.mu.Unlock()
	if g != nil {
		g.sendHere(p)
	}
	return nil
}

var errFrames = errors.New("websocket: not whole messages in frames of their own")

// ParsePrepared returns the Prepared whose Wire is frames, which it keeps.
func ParsePrepared(frames []byte) (*Prepared, error) {
	p := &Prepared{plain: frames}
	marked := false
	for rest := frames; len(rest) > 0; {
		if len(rest) < 2 {
			return nil, errFrames
		}
		typ, size, head := MessageType(rest[0]&0x0F), uint64(rest[1]), 2
		switch {
		case rest[0]&^uncompressed&0xF0 != 0x80 || check(typ) != nil || size > 127: // FIN, no mask
			return nil, errFrames
		case size == 126 && len(rest) >= 4:
			size, head = uint64(binary.BigEndian.Uint16(rest[2:])), 4
		case size == 127 && len(rest) >= 10:
			size, head = binary.BigEndian.Uint64(rest[2:]), 10
		case size > 125:
			return nil, errFrames
		}
		if size > uint64(len(rest)-head) {
			return nil, errFrames
		}
		end := head + int(size)
		p.messages = append(p.messages, Message{typ, rest[head:end:end], rest[0]&uncompressed != 0})
		marked = marked || rest[0]&uncompressed != 0
		rest = rest[end:]
	}
	switch {
	case len(p.messages) == 0:
		return nil, errFrames
	case marked: // frames as connections get them
		return Prepare(p.messages...), nil
	}
	p.deflates = true
	return p, nil
}

type groupsKey struct{}

// WithGroups returns a context in which GroupFrom finds s.
func WithGroups(ctx context.Context, s *Groups) context.Context {
	return context.WithValue(ctx, groupsKey{}, s)
}

// GroupFrom returns the group of a name among those of the worker that ctx comes from: a
// request's, or that of app.Starter. Any other context panics: there is no worker in it.
func GroupFrom(ctx context.Context, name string) *Group {
	if s, ok := ctx.Value(groupsKey{}).(*Groups); ok {
		return s.Group(name)
	}
	if e := EngineFrom(ctx); e != nil {
		return e.Config().Groups.Group(name)
	}
	panic("websocket: GroupFrom with a context that is no worker's")
}

// Group returns the group of a name among those of c's worker.
func (c *Conn) Group(name string) *Group { return c.Config().Groups.Group(name) }
