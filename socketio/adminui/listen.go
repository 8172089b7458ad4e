package adminui

import (
	"slices"
	"time"

	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/socketio/engineio"
)

// listen hears everything in a namespace or a pattern.
func (a *admin) listen(n *socketio.Namespace) {
	n.OnConnect(a.connected)
	n.OnDisconnect(func(s *socketio.Socket, reason socketio.Reason) {
		a.events.push("socket_disconnected", s.Namespace().Name(), s.ID(), reason, stamp())
	})
	n.OnJoin(a.joined)
	n.OnLeave(a.left)
	n.OnSetData(func(s *socketio.Socket) {
		if s.Connected() {
			a.events.push("socket_updated", map[string]any{"id": s.ID(), "nsp": s.Namespace().Name(), "data": dataOf(s.Describe().Data)})
		}
	})
	if n == a.ns {
		return // each event to a page would make another one
	}
	n.OnAny(func(s *socketio.Socket, e *socketio.Event) {
		a.events.list("event_received", s, e)
	})
	n.OnAnyOutgoing(func(s *socketio.Socket, e *socketio.Event) {
		a.events.list("event_sent", s, e)
	})
}

func argsOf(e *socketio.Event) []any {
	all := []any{e.Name}
	for _, arg := range e.Args {
		all = append(all, arg)
	}
	return all
}

// stamp is the time as pages get it.
func stamp() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }

// connected tells of a socket, with the rooms that it has been told to be in: those that
// come later are told by themselves, and a page counts a room that it is told of twice twice.
func (a *admin) connected(s *socketio.Socket) {
	d := s.Describe()
	e := a.events
	e.mu.Lock()
	defer e.mu.Unlock()
	d.Rooms = e.entering[s]
	delete(e.entering, s)
	e.pushLocked("socket_connected", serialize(d, s.Namespace().Name()), stamp())
}

// joined is called while the rooms are locked.
func (a *admin) joined(s *socketio.Socket, r socketio.Room) {
	e := a.events
	e.mu.Lock()
	defer e.mu.Unlock()
	if rooms, ok := e.entering[s]; ok || r == socketio.Room(s.ID()) {
		e.entering[s] = append(rooms, r)
	}
	e.pushLocked("room_joined", s.Namespace().Name(), r, s.ID(), stamp())
}

// left is called while the rooms are locked.
func (a *admin) left(s *socketio.Socket, r socketio.Room) {
	e := a.events
	e.mu.Lock()
	defer e.mu.Unlock()
	if rooms, ok := e.entering[s]; ok {
		e.entering[s] = slices.DeleteFunc(slices.Clone(rooms), func(other socketio.Room) bool { return other == r })
		if r == socketio.Room(s.ID()) { // the last
			delete(e.entering, s)
		}
	}
	e.pushLocked("room_left", s.Namespace().Name(), r, s.ID(), stamp())
}

// observer is an admin as engineio calls it.
type observer struct{ admin *admin }

// Opened implements engineio.Observer.
func (o *observer) Opened(*engineio.Session) { o.admin.stats.add("rawConnection", "") }

// Closed implements engineio.Observer.
func (o *observer) Closed(_ *engineio.Session, reason engineio.Reason) {
	o.admin.stats.add("rawDisconnection", string(reason))
}

// Received implements engineio.Observer.
func (o *observer) Received(_ *engineio.Session, bytes int) {
	o.admin.stats.packetsIn.Add(1)
	o.admin.stats.bytesIn.Add(int64(bytes))
}

// Sent implements engineio.Observer.
func (o *observer) Sent(_ *engineio.Session, messages, bytes int) {
	o.admin.stats.packetsOut.Add(int64(messages))
	o.admin.stats.bytesOut.Add(int64(bytes))
}

// Upgraded implements engineio.Observer.
func (o *observer) Upgraded(s *engineio.Session, to engineio.TransportName) {
	if o.admin.options.Mode != Development {
		return
	}
	for _, socket := range o.admin.io.SocketsOf(s) {
		o.admin.events.push("socket_updated", map[string]any{"id": socket.ID(), "nsp": socket.Namespace().Name(), "transport": to})
	}
}
