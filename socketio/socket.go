package socketio

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/engineio"
	"github.com/chaussette/chaussette/socketio/parser"
)

// Socket is one client in one namespace. Its methods may be called from any goroutine,
// and none but EmitWithAck waits for the client.
type Socket struct {
	id         SocketID
	ns         *Namespace
	client     *client
	auth       string // JSON, or empty
	membership adapter.Membership
	early      atomic.Pointer[early] // while it enters

	mu      sync.Mutex // guards what follows
	state   socketState
	entered bool // it was let in
	running bool // somebody takes from the queue
	pending int32
	head    *job // the queue: what is to be done, in order; pending jobs of so many bytes
	tail    *job
	bytes   int
	acks    map[uint64]func(Raw, error)
	data    any
	extra   *extra // what few sockets have
}

// extra keeps a Socket small.
type extra struct {
	ctx       context.Context
	cancel    context.CancelFunc
	pid       string
	recovered bool
	rooms     []Room // those it was in when it left
}

type socketState byte

const (
	socketConnecting socketState = iota // middleware has not agreed yet
	socketConnected
	socketClosed
)

func newSocket(n *Namespace, c *client, auth string) *Socket {
	s := &Socket{ns: n, client: c, auth: auth}
	// Before protocol 5 the client takes its session's id for its own.
	if c.session.Revision() == engineio.Revision4 {
		s.id = SocketID(c.server.engine.NewID())
	} else if s.id = SocketID(c.session.ID()); n.name != "/" {
		s.id = SocketID(n.name+"#") + s.id
	}
	return s
}

// ID names the socket.
func (s *Socket) ID() SocketID { return s.id }

// Namespace is where the socket is.
func (s *Socket) Namespace() *Namespace { return s.ns }

// Session is what carries the client; its sockets in other namespaces share it.
func (s *Socket) Session() *engineio.Session { return s.client.session }

// Request is the HTTP request that the client began with, made anew by each call.
func (s *Socket) Request() *http.Request { return s.client.session.Request() }

// Auth is what the client says of itself: the payload of its CONNECT as JSON, for older
// clients the query that they append to the namespace. Without, it is {}.
func (s *Socket) Auth() Raw {
	if s.auth == "" {
		return Raw{JSON: json.RawMessage("{}")}
	}
	return Raw{JSON: json.RawMessage(s.auth)}
}

// ForgetAuth empties Auth. It is for a middleware that has looked at a password, which no
// FetchSockets, on any worker, then finds any more. A client that it is done to does not get
// back the session that it had (see Options.Recovery).
func (s *Socket) ForgetAuth() { s.auth = "" }

// Connected tells whether the client is there.
func (s *Socket) Connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == socketConnected
}

// Recovered tells whether the client was away and has its id, rooms and data back.
func (s *Socket) Recovered() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.extra != nil && s.extra.recovered
}

// Data is what SetData was given, or nil.
func (s *Socket) Data() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data
}

// SetData keeps a value with the socket. FetchSockets shows it, as JSON.
func (s *Socket) SetData(v any) {
	s.mu.Lock()
	s.data = v
	s.mu.Unlock()
	h := s.ns.handlers
	h.mu.RLock()
	listeners := h.changed
	h.mu.RUnlock()
	for _, f := range listeners {
		f(s)
	}
}

// Context ends when the socket is disconnected.
func (s *Socket) Context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.extraLocked()
	if x.ctx == nil {
		x.ctx, x.cancel = context.WithCancel(context.Background())
		if s.state == socketClosed {
			x.cancel()
		}
	}
	return x.ctx
}

func (s *Socket) extraLocked() *extra {
	if s.extra == nil {
		s.extra = new(extra)
	}
	return s.extra
}

// Join puts the socket into rooms.
func (s *Socket) Join(rooms ...Room) { s.ns.adapter.Join(s, rooms...) }

// Leave takes it out of rooms.
func (s *Socket) Leave(rooms ...Room) { s.ns.adapter.Leave(s, rooms...) }

// Rooms are those it is in, beginning with that of its id; in OnDisconnect those it was
// in.
func (s *Socket) Rooms() []Room {
	if rooms := s.ns.adapter.Rooms(s); rooms != nil {
		return rooms
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.extra == nil {
		return nil
	}
	return slices.Clone(s.extra.rooms)
}

// Emit sends an event to the client. Arguments are encoded as by encoding/json; []byte,
// at any depth, goes out as binary. After a disconnect it returns ErrDisconnected.
func (s *Socket) Emit(event string, args ...any) error {
	return s.emit(event, args, adapter.Flags{}, false)
}

// EmitVolatile is Emit for what is worthless when it comes late: it is dropped unless the
// client can take it at once.
func (s *Socket) EmitVolatile(event string, args ...any) error {
	return s.emit(event, args, adapter.Flags{Volatile: true}, false)
}

// EmitUncompressed is Emit for what is not to be compressed on its way; see
// Broadcast.Uncompressed.
func (s *Socket) EmitUncompressed(event string, args ...any) error {
	return s.emit(event, args, adapter.Flags{}, true)
}

func (s *Socket) emit(event string, args []any, f adapter.Flags, uncompressed bool) error {
	data, attachments, err := encodeEvent(event, args)
	if err != nil {
		return err
	}
	if !s.Connected() {
		return ErrDisconnected
	}
	if s.ns.server.options.Recovery != nil && !f.Volatile {
		// It may have to be sent again, and needs an offset.
		p := s.ns.packet(data, attachments, uncompressed)
		return s.ns.adapter.Broadcast(p, adapter.Opts{Rooms: []Room{Room(s.id)}, Flags: f})
	}
	if f.Volatile && !s.client.session.Writable() {
		return nil
	}
	p := parser.Packet{Type: parser.Event, Namespace: s.ns.name, Data: data, Attachments: attachments}
	s.heard(&p)
	return s.sent(s.client.sendAs(&p, uncompressed))
}

func (s *Socket) send(p *parser.Packet) error { return s.sent(s.client.send(p)) }

// sent is err, or ErrDisconnected where the session has ended.
func (s *Socket) sent(err error) error {
	if err != nil && s.client.session.Done() {
		return ErrDisconnected
	}
	return err
}

// EmitWithAck sends an event and waits for the acknowledgement, until ctx ends. If the
// client disconnects it is ErrDisconnected.
func (s *Socket) EmitWithAck(ctx context.Context, event string, args ...any) (Args, error) {
	data, attachments, err := encodeEvent(event, args)
	if err != nil {
		return nil, err
	}
	type answer struct {
		raw Raw
		err error
	}
	answered := make(chan answer, 1)
	p := parser.Packet{Type: parser.Event, Namespace: s.ns.name, Data: data, Attachments: attachments, HasID: true, ID: s.ns.ids.Add(1)}
	if !s.await(p.ID, func(r Raw, err error) { answered <- answer{r, err} }) {
		return nil, ErrDisconnected
	}
	defer s.forget(p.ID)
	s.heard(&p)
	if err := s.send(&p); err != nil {
		return nil, err
	}
	select {
	case a := <-answered:
		if a.err != nil {
			return nil, a.err
		}
		return argsOf(a.raw.JSON, a.raw.Attachments), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("acknowledgement of %q: %w", event, ctx.Err())
	}
}

// Call is Socket.EmitWithAck for an acknowledgement of one argument, decoded.
func Call[T any](ctx context.Context, s *Socket, event string, args ...any) (T, error) {
	var result T
	answer, err := s.EmitWithAck(ctx, event, args...)
	if err != nil {
		return result, err
	}
	err = answer.Decode(&result)
	return result, err
}

// await has f called once with the answer to an event of this id, or with an error when
// the socket is disconnected before. It is false if that is so already.
func (s *Socket) await(id uint64, f func(Raw, error)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == socketClosed {
		return false
	}
	if s.acks == nil {
		s.acks = map[uint64]func(Raw, error){}
	}
	s.acks[id] = f
	return true
}

func (s *Socket) forget(id uint64) {
	s.mu.Lock()
	delete(s.acks, id)
	if len(s.acks) == 0 {
		s.acks = nil
	}
	s.mu.Unlock()
}

// acknowledged takes a client's answer. One to nothing is ignored: the client may have
// been too late.
func (s *Socket) acknowledged(id uint64, r Raw) {
	s.mu.Lock()
	f := s.acks[id]
	delete(s.acks, id)
	s.mu.Unlock()
	if f != nil {
		f(r, nil)
	}
}

func (s *Socket) sendAck(id uint64, args []any) error {
	data, attachments, err := parser.Marshal(args...)
	if err != nil {
		return fmt.Errorf("acknowledge: %w", err)
	}
	return s.send(&parser.Packet{Type: parser.Ack, Namespace: s.ns.name, HasID: true, ID: id, Data: data, Attachments: attachments})
}

// others addresses all sockets of the namespace but this one.
func (s *Socket) others() Broadcast { return s.ns.Except(Room(s.id)) }

// To addresses the sockets that are in any of the rooms, but not this one.
func (s *Socket) To(rooms ...Room) Broadcast { return s.others().To(rooms...) }

// Except addresses all sockets but those in any of the rooms and this one.
func (s *Socket) Except(rooms ...Room) Broadcast { return s.others().Except(rooms...) }

// Broadcast addresses all sockets but this one.
func (s *Socket) Broadcast() Broadcast { return s.others() }

// Disconnect throws the client out of the namespace. With closing set its connection is
// closed as well, and it has left all namespaces. A client that was disconnected does not
// come back by itself.
func (s *Socket) Disconnect(closing bool) {
	if !closing {
		_ = s.send(&parser.Packet{Type: parser.Disconnect, Namespace: s.ns.name})
		s.close(ServerDisconnect)
		return
	}
	for _, other := range s.client.sockets() {
		_ = other.send(&parser.Packet{Type: parser.Disconnect, Namespace: other.ns.name})
		other.close(ServerDisconnect)
	}
	s.client.session.Close()
}

// Membership implements adapter.Socket.
func (s *Socket) Membership() *adapter.Membership { return &s.membership }

// Deliver implements adapter.Socket.
func (s *Socket) Deliver(p *adapter.Packet, f adapter.Flags) bool {
	if f.Volatile && !s.client.session.Writable() {
		return false
	}
	prepared := s.prepared(p)
	if prepared == nil {
		return false
	}
	if e := s.early.Load(); e != nil && e.keep(prepared) {
		return true
	}
	_ = s.client.session.SendPrepared(prepared)
	return true
}

// DeliverTo implements adapter.Fan.
func (s *Socket) DeliverTo(sockets []adapter.Socket, p *adapter.Packet, f adapter.Flags) []adapter.Socket {
	fan := engineio.NewFan()
	defer fan.Close()
	var prepared *engineio.Prepared
	var spoken parser.Parser
	took := sockets[:0]
	for _, socket := range sockets {
		to := socket.(*Socket)
		if f.Volatile && !to.client.session.Writable() {
			continue
		}
		if to.client.parser != spoken {
			spoken, prepared = to.client.parser, to.prepared(p)
		}
		if prepared != nil {
			if e := to.early.Load(); e == nil || !e.keep(prepared) {
				fan.Send(to.client.session, prepared)
			}
			took = append(took, to)
		}
	}
	return took
}

// prepared is p as the client understands it, or nil if it cannot.
func (s *Socket) prepared(p *adapter.Packet) *engineio.Prepared {
	return s.ns.prepared(p, s.client.parser)
}

// Delivered implements adapter.Socket.
func (s *Socket) Delivered(p *adapter.Packet) { s.heard(&p.Packet) }

// PID implements adapter.Returner. It is set before the adapter knows of the socket, and
// never changes.
func (s *Socket) PID() string {
	if s.extra == nil {
		return ""
	}
	return s.extra.pid
}

// Moved implements adapter.Returner.
func (s *Socket) Moved() { s.client.session.Close() }

// DeliverAck implements adapter.Socket.
func (s *Socket) DeliverAck(p *adapter.Packet, ack func(Raw)) (forget func()) {
	if !s.await(p.ID, func(r Raw, err error) {
		if err == nil {
			ack(r)
		}
	}) {
		return func() {}
	}
	if s.Deliver(p, adapter.Flags{}) {
		s.Delivered(p)
	}
	return func() { s.forget(p.ID) }
}

// Describe implements adapter.Socket.
func (s *Socket) Describe() adapter.Description {
	r := s.Request()
	d := adapter.Description{ID: s.id, Handshake: adapter.Handshake{
		Address: r.RemoteAddr, URL: r.URL.String(), Headers: r.Header, Auth: s.Auth().JSON,
		Issued: s.client.session.Began(), Secure: s.client.session.Secure(),
	}}
	d.Data, _ = json.Marshal(s.Data())
	if s.ns.server.engine.Observed() {
		session := s.client.session
		d.Client, d.Transport = string(session.ID()), string(session.Transport())
		d.Client = d.Client[:min(len(d.Client), shownOfSID)]
	}
	return d
}

// shownOfSID is how much of a session's id others are shown, as by Node: the whole would let
// them speak in its name.
const shownOfSID = 12

// Began is when the client connected.
func (s *Socket) Began() time.Time { return s.client.session.Began() }

// Joined implements adapter.Roomer.
func (s *Socket) Joined(r Room) {
	s.roomed(r, func(h *handlers) []func(*Socket, Room) { return h.joined })
}

// Left implements adapter.Roomer.
func (s *Socket) Left(r Room) { s.roomed(r, func(h *handlers) []func(*Socket, Room) { return h.left }) }

// roomed tells those who listen to rooms.
func (s *Socket) roomed(r Room, of func(*handlers) []func(*Socket, Room)) {
	h := s.ns.handlers
	if !h.roomed.Load() {
		return
	}
	h.mu.RLock()
	listeners := of(h)
	h.mu.RUnlock()
	for _, f := range listeners {
		f(s, r)
	}
}

// heard tells those who listen to what is sent.
func (s *Socket) heard(p *parser.Packet) {
	h := s.ns.handlers
	if !h.listened.Load() {
		return
	}
	name, args, err := parser.EventName(p.Data)
	if err != nil {
		return
	}
	e := &Event{Name: name, socket: s, acked: true}
	for _, a := range args {
		e.Args = append(e.Args, Raw{JSON: a, Attachments: p.Attachments})
	}
	h.mu.RLock()
	listeners := h.outgoing
	h.mu.RUnlock()
	for _, f := range listeners {
		f(s, e)
	}
}
