package socketio

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/parser"
)

// Broadcast says whom something is for, and how. It is a value: each method returns
// another one.
//
//	io.To("news", "sport").Except("muted").Emit("headline", text)
type Broadcast struct {
	namespace    *Namespace
	opts         adapter.Opts
	uncompressed bool
}

// To adds rooms. Without any, all sockets are addressed.
func (b Broadcast) To(rooms ...Room) Broadcast {
	b.opts.Rooms = append(slices.Clip(b.opts.Rooms), rooms...)
	return b
}

// In is To.
func (b Broadcast) In(rooms ...Room) Broadcast { return b.To(rooms...) }

// Except adds rooms whose sockets are left out.
func (b Broadcast) Except(rooms ...Room) Broadcast {
	b.opts.Except = append(slices.Clip(b.opts.Except), rooms...)
	return b
}

// Volatile does not keep what is sent for clients that cannot take it at once: positions
// in a game, say, which are old when they come late.
func (b Broadcast) Volatile() Broadcast {
	b.opts.Flags.Volatile = true
	return b
}

// Uncompressed has what is sent go as it is: a WebSocket does not deflate it, and a poll is
// not gzipped that brings nothing else. It is for what is compressed already, as pictures
// are, and for secrets next to what a stranger chooses.
func (b Broadcast) Uncompressed() Broadcast {
	b.uncompressed = true
	return b
}

// Local keeps it on this worker.
func (b Broadcast) Local() Broadcast {
	b.opts.Flags.Local = true
	return b
}

// Timeout bounds how long EmitWithAck waits, besides its context.
func (b Broadcast) Timeout(d time.Duration) Broadcast {
	b.opts.Flags.Timeout = d
	return b
}

// Emit sends an event, encoded once for each protocol that the clients speak, those of other
// workers too; with connection state recovery once on each worker, which adds its own
// offset. It does not wait for the clients. An error is about the arguments, or about other
// workers.
func (b Broadcast) Emit(event string, args ...any) error {
	data, attachments, err := encodeEvent(event, args)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range b.namespaces() {
		p := n.packet(data, attachments, b.uncompressed)
		errs = append(errs, n.adapter.Broadcast(p, b.opts))
	}
	return errors.Join(errs...)
}

func (n *Namespace) packet(data []byte, attachments [][]byte, uncompressed bool) *adapter.Packet {
	return &adapter.Packet{Uncompressed: uncompressed,
		Packet: parser.Packet{Type: parser.Event, Namespace: n.name, Data: data, Attachments: attachments}}
}

// namespaces are more than one for a pattern.
func (b Broadcast) namespaces() []*Namespace {
	if b.namespace.match != nil {
		return b.namespace.server.children(b.namespace)
	}
	return []*Namespace{b.namespace}
}

// MissingAcksError says how many of those asked have not answered in time. The answers
// that came are returned with it.
type MissingAcksError struct {
	Missing, Expected int
	Err               error // why it did not wait any longer
}

func (e *MissingAcksError) Error() string {
	return fmt.Sprintf("socket.io: %d of %d clients have not answered: %v", e.Missing, e.Expected, e.Err)
}

func (e *MissingAcksError) Unwrap() error { return e.Err }

// EmitWithAck sends an event and returns the acknowledgements of all sockets, as they
// come. If ctx or Timeout ends before, it is with a *MissingAcksError.
func (b Broadcast) EmitWithAck(ctx context.Context, event string, args ...any) ([]Args, error) {
	data, attachments, err := encodeEvent(event, args)
	if err != nil {
		return nil, err
	}
	if d := b.opts.Flags.Timeout; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	var answers []Args
	var errs []error
	for _, n := range b.namespaces() {
		p := n.packet(data, attachments, b.uncompressed)
		p.HasID, p.ID = true, n.ids.Add(1)
		before := len(answers)
		expected, err := n.adapter.BroadcastAck(ctx, p, b.opts, func(r parser.Raw) {
			answers = append(answers, argsOf(r.JSON, r.Attachments))
		})
		if err != nil {
			errs = append(errs, &MissingAcksError{expected - (len(answers) - before), expected, err})
		}
	}
	return answers, errors.Join(errs...)
}

// SocketsJoin has the sockets join rooms.
func (b Broadcast) SocketsJoin(rooms ...Room) error {
	return b.each(func(n *Namespace) error { return n.adapter.JoinAll(b.opts, rooms...) })
}

// SocketsLeave has the sockets leave rooms.
func (b Broadcast) SocketsLeave(rooms ...Room) error {
	return b.each(func(n *Namespace) error { return n.adapter.LeaveAll(b.opts, rooms...) })
}

// DisconnectSockets disconnects the sockets; see Socket.Disconnect.
func (b Broadcast) DisconnectSockets(closing bool) error {
	return b.each(func(n *Namespace) error { return n.adapter.DisconnectAll(b.opts, closing) })
}

func (b Broadcast) each(f func(*Namespace) error) error {
	var errs []error
	for _, n := range b.namespaces() {
		errs = append(errs, f(n))
	}
	return errors.Join(errs...)
}

// FetchSockets describes the sockets, on all workers. With adapter.ErrPartial those of
// some are missing.
func (b Broadcast) FetchSockets(ctx context.Context) ([]RemoteSocket, error) {
	var found []RemoteSocket
	var errs []error
	for _, n := range b.namespaces() {
		list, err := n.adapter.Fetch(ctx, b.opts)
		for _, d := range list {
			found = append(found, RemoteSocket{d, n})
		}
		errs = append(errs, err)
	}
	return found, errors.Join(errs...)
}

// RemoteSocket is a socket on whatever worker it is, as it was when it was fetched.
type RemoteSocket struct {
	adapter.Description
	namespace *Namespace
}

func (s RemoteSocket) itself() Broadcast { return s.namespace.To(Room(s.ID)) }

// Emit sends an event to it.
func (s RemoteSocket) Emit(event string, args ...any) error { return s.itself().Emit(event, args...) }

// Join has it join rooms.
func (s RemoteSocket) Join(rooms ...Room) error { return s.itself().SocketsJoin(rooms...) }

// Leave has it leave rooms.
func (s RemoteSocket) Leave(rooms ...Room) error { return s.itself().SocketsLeave(rooms...) }

// Disconnect disconnects it; see Socket.Disconnect.
func (s RemoteSocket) Disconnect(closing bool) error { return s.itself().DisconnectSockets(closing) }
