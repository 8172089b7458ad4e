package socketio

import (
	"context"
	"encoding/json"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/parser"
)

// Namespace is a part of an app with events, rooms and sockets of its own. Its methods
// may be called from any goroutine.
type Namespace struct {
	server   *Server
	name     string
	handlers *handlers
	adapter  adapter.Adapter // nil for a pattern
	match    func(string) bool
	parent   *Namespace // the pattern that made it

	ids     atomic.Uint64 // of acknowledgements
	sockets atomic.Int64  // on this worker, those that are connecting included
}

// handlers are what an app has registered, shared by the namespaces of a pattern.
type handlers struct {
	mu         sync.RWMutex // guards what follows
	connect    []func(*Socket)
	disconnect []func(*Socket, Reason)
	middleware []func(*Socket) error
	intercept  []func(*Socket, *Event) error
	events     map[string]*handler
	serverSide map[string]func(Args) ([]any, error)
	incoming   []func(*Socket, *Event)
	outgoing   []func(*Socket, *Event)
	listened   atomic.Bool // there are outgoing ones
	joined     []func(*Socket, Room)
	left       []func(*Socket, Room)
	roomed     atomic.Bool // there are some of joined or left
	changed    []func(*Socket)
	data       reflect.Type // of Socket.Data; nil if nobody has said
}

// Name begins with a slash.
func (n *Namespace) Name() string { return n.name }

// Pattern is that to which the namespace belongs, with the handlers of which it serves; nil
// for one that has its own.
func (n *Namespace) Pattern() *Namespace { return n.parent }

// Adapter is what fans out to the rooms; nil for a pattern.
func (n *Namespace) Adapter() adapter.Adapter { return n.adapter }

// OnConnect has f called for each client that has come in, before any of its events. The
// client has been told.
func (n *Namespace) OnConnect(f func(s *Socket)) {
	n.handlers.mu.Lock()
	defer n.handlers.mu.Unlock()
	n.handlers.connect = append(n.handlers.connect, f)
}

// OnDisconnect has f called for each client that has left, after its last event. Its
// rooms can still be asked for.
func (n *Namespace) OnDisconnect(f func(s *Socket, reason Reason)) {
	n.handlers.mu.Lock()
	defer n.handlers.mu.Unlock()
	n.handlers.disconnect = append(n.handlers.disconnect, f)
}

// DataType says of what type the sockets' data is, by a value of it: when a client comes
// back to another worker (see Options.Recovery) its data comes as JSON, and is decoded to
// that. Without DataType, Socket.Data is then what encoding/json makes of it for an any.
func (n *Namespace) DataType(example any) {
	n.handlers.mu.Lock()
	defer n.handlers.mu.Unlock()
	n.handlers.data = reflect.TypeOf(example)
}

// restoreData is what SetData was given, perhaps on another worker.
func (n *Namespace) restoreData(saved any) any {
	encoded, ok := saved.(adapter.EncodedData)
	if !ok {
		return saved
	}
	n.handlers.mu.RLock()
	typ := n.handlers.data
	n.handlers.mu.RUnlock()
	if typ == nil {
		typ = reflect.TypeFor[any]()
	}
	data := reflect.New(typ)
	if err := json.Unmarshal(encoded, data.Interface()); err != nil {
		n.server.options.Logger.Error("socket.io data of another worker cannot be decoded", "namespace", n.name, "type", typ, "error", err)
		return nil
	}
	return data.Elem().Interface()
}

// Use adds a middleware: it is called before a client is let in, and may block. If it
// returns an error, the client is refused and told (see Error).
func (n *Namespace) Use(f func(s *Socket) error) {
	n.handlers.mu.Lock()
	defer n.handlers.mu.Unlock()
	n.handlers.middleware = append(n.handlers.middleware, f)
}

// UseEvent adds a middleware that is called for each event before its handler. If it
// returns an error, the event has none, and who sent it is told by the acknowledgement.
func (n *Namespace) UseEvent(f func(s *Socket, e *Event) error) {
	n.handlers.mu.Lock()
	defer n.handlers.mu.Unlock()
	n.handlers.intercept = append(n.handlers.intercept, f)
}

// On sets the handler of an event. It is a function, whose parameters may be, in this
// order or any other,
//
//	context.Context  ends when the socket is disconnected
//	*Socket          who has sent it
//	*Event           all about it, to acknowledge it by hand
//	any other type   the next argument, decoded as by encoding/json; its zero value if
//	                 the client has sent less. []byte takes binary, Raw anything untouched.
//	...T             what is left
//
// What it returns is the acknowledgement, if the client wants one. If the last result is
// an error and not nil, the client gets {"error": text} instead; see Error. A handler
// that takes the *Event acknowledges by itself, unless it returns a value or an error.
//
// A handler that takes a context.Context has a goroutine of its own, and may wait for
// anything. The others run where the client's messages are read, which costs less: they
// may block and hold up no other client, but meanwhile nothing is read from theirs. So one
// that asks its own client by EmitWithAck has to take the context.
//
// A function that does not fit panics here. A handler that panics is logged, and the
// client gets an error.
func (n *Namespace) On(event string, fn any) {
	if parser.Reserved(event) {
		panic("socketio: " + event + " is reserved: see OnConnect and OnDisconnect")
	}
	h := newHandler(event, fn)
	n.handlers.mu.Lock()
	defer n.handlers.mu.Unlock()
	if n.handlers.events == nil {
		n.handlers.events = map[string]*handler{}
	}
	n.handlers.events[event] = h
}

// Off removes the handler of an event.
func (n *Namespace) Off(event string) {
	n.handlers.mu.Lock()
	defer n.handlers.mu.Unlock()
	delete(n.handlers.events, event)
}

// OnAny has f called for every event that comes, before the handler.
func (n *Namespace) OnAny(f func(s *Socket, e *Event)) {
	n.handlers.mu.Lock()
	defer n.handlers.mu.Unlock()
	n.handlers.incoming = append(n.handlers.incoming, f)
}

// OnAnyOutgoing has f called for every event that is sent to a client, broadcasts too.
func (n *Namespace) OnAnyOutgoing(f func(s *Socket, e *Event)) {
	n.handlers.mu.Lock()
	defer n.handlers.mu.Unlock()
	n.handlers.outgoing = append(n.handlers.outgoing, f)
	n.handlers.listened.Store(true)
}

// OnJoin has f called when a socket has got into a room, by whomever, and OnLeave when it
// has left one. Each socket joins the room of its id before OnConnect, and leaves all its
// rooms before OnDisconnect. The calls come in the order in which that happens, while the
// rooms are locked: f must not block, and of s it asks ID, Namespace and Session alone.
func (n *Namespace) OnJoin(f func(s *Socket, r Room)) {
	n.handlers.mu.Lock()
	defer n.handlers.mu.Unlock()
	n.handlers.joined = append(n.handlers.joined, f)
	n.handlers.roomed.Store(true)
}

// OnLeave is told of what OnJoin describes.
func (n *Namespace) OnLeave(f func(s *Socket, r Room)) {
	n.handlers.mu.Lock()
	defer n.handlers.mu.Unlock()
	n.handlers.left = append(n.handlers.left, f)
	n.handlers.roomed.Store(true)
}

// OnSetData has f called after each Socket.SetData.
func (n *Namespace) OnSetData(f func(s *Socket)) {
	n.handlers.mu.Lock()
	defer n.handlers.mu.Unlock()
	n.handlers.changed = append(n.handlers.changed, f)
}

// Socket is the one with this id if it is connected to this worker, or nil.
func (n *Namespace) Socket(id SocketID) *Socket {
	s, _ := n.adapter.Local(id).(*Socket)
	return s
}

// Sockets are those connected to this worker.
func (n *Namespace) Sockets() []*Socket {
	var all []*Socket
	n.adapter.Each(adapter.Opts{}, func(s adapter.Socket) bool {
		all = append(all, s.(*Socket))
		return true
	})
	return all
}

// everybody addresses all sockets of n.
func (n *Namespace) everybody() Broadcast { return Broadcast{namespace: n} }

// To addresses the sockets that are in any of the rooms, or have one of the ids.
func (n *Namespace) To(rooms ...Room) Broadcast { return n.everybody().To(rooms...) }

// Except addresses all sockets but those in any of the rooms.
func (n *Namespace) Except(rooms ...Room) Broadcast { return n.everybody().Except(rooms...) }

// Volatile addresses all sockets; see Broadcast.Volatile.
func (n *Namespace) Volatile() Broadcast { return n.everybody().Volatile() }

// Uncompressed addresses all sockets; see Broadcast.Uncompressed.
func (n *Namespace) Uncompressed() Broadcast { return n.everybody().Uncompressed() }

// Local addresses the sockets of this worker alone.
func (n *Namespace) Local() Broadcast { return n.everybody().Local() }

// Emit sends an event to all sockets.
func (n *Namespace) Emit(event string, args ...any) error { return n.everybody().Emit(event, args...) }

// EmitWithAck is Broadcast.EmitWithAck to all sockets.
func (n *Namespace) EmitWithAck(ctx context.Context, event string, args ...any) ([]Args, error) {
	return n.everybody().EmitWithAck(ctx, event, args...)
}

// SocketsJoin has all sockets join rooms.
func (n *Namespace) SocketsJoin(rooms ...Room) error { return n.everybody().SocketsJoin(rooms...) }

// SocketsLeave has all sockets leave rooms.
func (n *Namespace) SocketsLeave(rooms ...Room) error { return n.everybody().SocketsLeave(rooms...) }

// DisconnectSockets disconnects all sockets; see Socket.Disconnect.
func (n *Namespace) DisconnectSockets(closing bool) error {
	return n.everybody().DisconnectSockets(closing)
}

// FetchSockets describes all sockets, on all workers.
func (n *Namespace) FetchSockets(ctx context.Context) ([]RemoteSocket, error) {
	return n.everybody().FetchSockets(ctx)
}

// OnServerSide has f called when another worker's app calls ServerSideEmit with this
// event. What it returns goes to one that has called ServerSideEmitWithAck.
func (n *Namespace) OnServerSide(event string, f func(args Args) (results []any, err error)) {
	n.handlers.mu.Lock()
	defer n.handlers.mu.Unlock()
	if n.handlers.serverSide == nil {
		n.handlers.serverSide = map[string]func(Args) ([]any, error){}
	}
	n.handlers.serverSide[event] = f
}

// ServerSideEmit calls what other workers have registered by OnServerSide.
func (n *Namespace) ServerSideEmit(event string, args ...any) error {
	data, err := serverSideData(event, args)
	if err != nil {
		return err
	}
	return n.adapter.ServerSideEmit(data)
}

// ServerSideEmitWithAck is ServerSideEmit with the answers, one for each other worker.
// With adapter.ErrPartial some are missing.
func (n *Namespace) ServerSideEmitWithAck(ctx context.Context, event string, args ...any) ([]Args, error) {
	data, err := serverSideData(event, args)
	if err != nil {
		return nil, err
	}
	answers, err := n.adapter.ServerSideEmitAck(ctx, data)
	var all []Args
	for _, a := range answers {
		all = append(all, argsOf(a, nil))
	}
	return all, err
}

func serverSideData(event string, args []any) (json.RawMessage, error) {
	return json.Marshal(append([]any{event}, args...))
}

// serverSide is a Namespace as its adapter calls it.
type serverSide Namespace

// ServerSideEmit implements adapter.Handler.
func (n *serverSide) ServerSideEmit(data json.RawMessage, answer func(json.RawMessage)) {
	name, _, err := parser.EventName(data)
	if err != nil {
		return
	}
	n.handlers.mu.RLock()
	f := n.handlers.serverSide[name]
	n.handlers.mu.RUnlock()
	if f == nil {
		return
	}
	args := argsOf(append(json.RawMessage(nil), data...), nil)[1:]
	go func() { // the app's function may block; the adapter must not
		results, err := f(args)
		if answer == nil {
			return
		}
		if err != nil {
			results = []any{ackError(err)}
		}
		if data, err := json.Marshal(results); err == nil {
			answer(data)
		}
	}()
}
