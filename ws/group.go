package ws

import (
	"sync"
)

// Group is a set of connections that are sent to together. The zero value is empty and
// ready, and of this process alone; one with a name, of Conn.Group or GroupFrom, has
// connections on all workers that share a socket. Its methods may be called from any
// goroutine. A connection that ends leaves its groups by itself.
type Group struct {
	name   string
	groups *Groups // nil for a group that is of this process alone

	mu      sync.Mutex // taken after a Conn's; not held while sending
	conns   []*Conn    // apart from members, so that a broadcast reads less memory
	members []*member  // in the same places
}

// member is one Conn in one Group.
type member struct {
	group *Group
	next  *member // of the same Conn; guarded by its mu
	place int32   // in group.members, -1 when removed; guarded by group.mu
}

// Add adds c, unless it is in g already or has ended, and reports whether it did.
func (g *Group) Add(c *Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	for m := c.groups; m != nil; m = m.next {
		if m.group == g {
			return false
		}
	}
	m := &member{group: g, next: c.groups}
	c.groups = m
	g.mu.Lock()
	m.place = int32(len(g.members))
	g.conns, g.members = append(g.conns, c), append(g.members, m)
	g.mu.Unlock()
	return true
}

// Remove removes c and reports whether it was there.
func (g *Group) Remove(c *Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := &c.groups; *at != nil; at = &(*at).next {
		if m := *at; m.group == g {
			*at = m.next
			g.drop(m)
			return true
		}
	}
	return false
}

func (g *Group) drop(m *member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.place < 0 {
		return
	}
	end := len(g.members) - 1
	last := g.members[end]
	g.members[m.place], g.conns[m.place], last.place = last, g.conns[end], m.place
	g.members[end], g.conns[end] = nil, nil
	g.members, g.conns = g.members[:end], g.conns[:end]
	m.place = -1
}

// Name is that of a group that has one, or empty.
func (g *Group) Name() string { return g.name }

// Len is how many connections of this worker are in g.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.members)
}

// Conns returns those of this worker that are in g now.
func (g *Group) Conns() []*Conn { return g.appendTo(nil) }

func (g *Group) appendTo(conns []*Conn) []*Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append(conns, g.conns...)
}

// Send sends a message to all but some, encoded once, for the other workers as well. It
// never waits for a slow peer: see Conn.Send. It returns how many connections of this
// worker took the message.
func (g *Group) Send(typ MessageType, p []byte, except ...*Conn) int {
	return g.SendPrepared(NewPrepared(typ, p), except...)
}

var snapshots = sync.Pool{New: func() any { return new([]*Conn) }}

// SendPrepared is Send for what is encoded already.
func (g *Group) SendPrepared(p *Prepared, except ...*Conn) int {
	if g.groups != nil {
		g.groups.publish(g.name, p)
	}
	return g.sendHere(p, except...)
}

// sendHere sends to the connections of this worker.
func (g *Group) sendHere(p *Prepared, except ...*Conn) int {
	snapshot := snapshots.Get().(*[]*Conn)
	conns := g.appendTo((*snapshot)[:0])
	sent := SendPreparedTo(conns, p, except...)
	clear(conns) // so that the pool keeps no Conn alive
	*snapshot = conns
	snapshots.Put(snapshot)
	return sent
}
