package adapter

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/chaussette/chaussette/socketio/parser"
)

// SocketID names a socket: one client in one namespace. It begins with its worker's tag.
type SocketID string

// Room names a set of sockets of one namespace. Each socket is alone in the room that has
// its SocketID as name; nobody else may join that.
type Room string

// Opts say whom something is for.
type Opts struct {
	// Rooms to address: the sockets that are in any of them. Empty means all sockets.
	Rooms []Room
	// Except are rooms whose sockets are left out.
	Except []Room
	Flags  Flags
}

// Flags say how.
type Flags struct {
	// Volatile packets are dropped for a client that cannot take them at once.
	Volatile bool
	// Local keeps it on this worker.
	Local bool
	// Timeout of acks; 0 means none but the context's.
	Timeout time.Duration
}

// Socket is what an adapter knows of a local socket. Its methods may be called from any
// goroutine, and do not block.
type Socket interface {
	ID() SocketID
	// Membership is the adapter's to use, and belongs to the socket.
	Membership() *Membership
	// Deliver sends p to the client, and is false where f let it drop p. p is shared with
	// other sockets. It calls no code of the app's.
	Deliver(p *Packet, f Flags) bool
	// Delivered is called after Deliver was true, in no order, for those who listen to
	// what is sent.
	Delivered(p *Packet)
	// DeliverAck sends p, which has an ID, and calls ack once with what the client
	// answers, unless it disconnects before, or forget is called.
	DeliverAck(p *Packet, ack func(parser.Raw)) (forget func())
	// Describe says what other workers are told about the socket.
	Describe() Description
	// Disconnect ends the socket; with closing set its client's session, too.
	Disconnect(closing bool)
}

// Fan may be implemented by a Socket that delivers to many cheaper than to one after
// another.
type Fan interface {
	// DeliverTo is Deliver for each of sockets, which are of the same adapter. It returns
	// those for which that is true, in the memory of sockets.
	DeliverTo(sockets []Socket, p *Packet, f Flags) []Socket
}

// Roomer may be implemented by a Socket that wants to know in which rooms it is, that of its
// id among them. The calls come in the order in which that happens, while the adapter is
// locked: they do not block, and call no method of it.
type Roomer interface {
	// Joined says that the socket is in a room, of its id when it was added.
	Joined(Room)
	// Left says that it is not any more; that of its id comes last, when it was removed.
	Left(Room)
}

// Description is a socket as Fetch finds it, on whatever worker it is.
type Description struct {
	ID        SocketID
	Rooms     []Room // with that of its own id
	Handshake Handshake
	// Data is what the app keeps with the socket, as JSON.
	Data json.RawMessage
	// Client is the beginning of the id of its session, which its sockets in other
	// namespaces share, and Transport what carries that. They are empty on a worker
	// without an admin UI.
	Client    string `json:",omitempty"`
	Transport string `json:",omitempty"`
}

// Handshake is what a Description tells of how its client connected.
type Handshake struct {
	Address string              // host and port
	URL     string              // with query
	Headers map[string][]string // of the HTTP request
	Issued  time.Time
	Secure  bool            // over TLS
	Auth    json.RawMessage // of the CONNECT packet
}

// Handler is what an adapter calls when another worker asks for more than delivery. The
// methods may be called from any goroutine and do not block.
type Handler interface {
	// ServerSideEmit handles an event of another worker's app, not of a client. answer is
	// nil if none is wanted; else it is called once, at any time, with a JSON array.
	ServerSideEmit(data json.RawMessage, answer func(json.RawMessage))
}

// Factory makes the adapter of a namespace when that is made.
type Factory func(namespace string, h Handler) (Adapter, error)

// ErrPartial says that some workers have not answered in time. What came is returned with
// it.
var ErrPartial = errors.New("socket.io: some workers have not answered")

// Adapter fans out to the rooms of one namespace. All methods may be called from any
// goroutine. They never wait for a client. Those with a context may wait for other
// workers; the others hand over to them in the background, and an adapter that cannot
// reach one drops what is for it, counts and reports that.
//
// What one goroutine does by several calls takes effect in that order for any socket,
// local or not.
type Adapter interface {
	// Add makes a local socket known, in the room of its id. Two sockets with one id are
	// an error of the caller's.
	Add(s Socket)
	// Remove takes a local socket out of everything. Nothing is delivered to it after
	// Remove has returned but what is being delivered then.
	Remove(s Socket)
	// Join puts a local socket into rooms; it is there when Join returns. A socket that
	// was not added, or was removed, stays out.
	Join(s Socket, rooms ...Room)
	// Leave takes a local socket out of rooms. The room of its id it cannot leave.
	Leave(s Socket, rooms ...Room)
	// Rooms are those a local socket is in, that of its id first.
	Rooms(s Socket) []Room
	// Local is the local socket with this id, or nil.
	Local(id SocketID) Socket
	// Each calls f for the local sockets that o addresses, until f returns false. Sockets
	// that come or go meanwhile may or may not be among them. f may call the adapter.
	Each(o Opts, f func(Socket) bool)

	// Broadcast delivers p once to each socket that o addresses, however many of its
	// rooms they are in, on all workers. p is shared, and must not be changed afterwards.
	// An error is about other workers: the local ones have it.
	Broadcast(p *Packet, o Opts) error
	// BroadcastAck is Broadcast for a packet with an ID, whose answers are passed to ack,
	// from any goroutine, one at a time. It returns when as many have answered as there
	// are sockets, or with ctx.Err(); expected is how many were asked.
	BroadcastAck(ctx context.Context, p *Packet, o Opts, ack func(parser.Raw)) (expected int, err error)
	// JoinAll has the sockets that o addresses join rooms, on all workers.
	JoinAll(o Opts, rooms ...Room) error
	// LeaveAll has them leave.
	LeaveAll(o Opts, rooms ...Room) error
	// DisconnectAll disconnects them; with closing set their clients' sessions end, too.
	DisconnectAll(o Opts, closing bool) error
	// Fetch describes the sockets that o addresses, on all workers. With ErrPartial those
	// of some are missing.
	Fetch(ctx context.Context, o Opts) ([]Description, error)
	// AllRooms are the rooms that are not empty, on all workers, those of ids included.
	AllRooms(ctx context.Context) ([]Room, error)

	// ServerSideEmit has the Handlers of all other workers called. data is a JSON array.
	ServerSideEmit(data json.RawMessage) error
	// ServerSideEmitAck is ServerSideEmit with answers. With ErrPartial some are missing.
	ServerSideEmitAck(ctx context.Context, data json.RawMessage) ([]json.RawMessage, error)
	// Workers is how many share the namespace, this one included.
	Workers(ctx context.Context) (int, error)

	// Save keeps the session of a socket that was lost, so that its client can have it
	// back. An adapter that cannot do that forgets it. It is called after Remove.
	Save(s SavedSession)
	// Forget is called in place of Save for a client that has left for good.
	Forget(pid string)
	// Restore looks for the session, and for what was broadcast to it after offset. If
	// both are there it calls back, which makes the socket that it returns of it; that is
	// added, and in its rooms, when Restore returns true. A session is restored once.
	// What is broadcast meanwhile is either in SavedSession.Missed or delivered after back
	// has returned, never both. back delivers what was missed, does not block, and calls no
	// method of the adapter. Where the worker that has the session has not noticed yet that
	// the client has left, or this one lags behind it, Restore waits.
	Restore(ctx context.Context, pid, offset string, back func(SavedSession) Socket) (bool, error)

	// Close ends what the adapter has running. Local delivery goes on.
	Close() error
}

// EncodedData is the JSON of what an app kept with a socket on another worker.
type EncodedData json.RawMessage

// SavedSession is what connection state recovery brings back.
type SavedSession struct {
	PID   string // which the client knows and nobody else
	ID    SocketID
	Rooms []Room
	// Data is what the app kept with the socket; from another worker it is EncodedData.
	Data any
	// Missed are the data of the packets that were broadcast meanwhile, oldest first.
	Missed []*Packet
}
