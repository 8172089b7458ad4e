package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/parser"
)

// Worker names one of those who share a namespace.
type Worker string

// Bus carries messages between the workers of one namespace. Its methods may be called
// from any goroutine, and do not wait for anybody. What one worker sends to another
// arrives in order, or the other has left in the eyes of the first.
type Bus interface {
	// Others are the workers that share the namespace, without this one.
	Others() []Worker
	// Broadcast sends a message to all others. An error says that it has not left.
	Broadcast(message []byte) error
	// Send sends a message to one of them. To one that has left it goes nowhere.
	Send(to Worker, message []byte) error
	// Close takes this worker out of the namespace.
	Close() error
}

// Adapter is the adapter.Adapter of a worker among others. Who has the Bus calls Receive
// with what comes, and Left when a worker has gone.
type Adapter struct {
	*state
	bus Bus
}

// state is what an Adapter shares with those of Among.
type state struct {
	*adapter.Memory
	namespace string
	handler   adapter.Handler
	timeout   time.Duration

	ids atomic.Uint64 // of requests, and of packets that others have their sockets asked

	mu       sync.Mutex // guards what follows
	requests map[uint64]*request
	asking   map[asker][]func() // forgets acks that nobody wants any more
	told     told

	forms forms
}

// asker is a request of another worker.
type asker struct {
	worker Worker
	id     uint64
}

// DefaultTimeout is how long others may take to answer, where a context says nothing.
const DefaultTimeout = 5 * time.Second

// New returns the adapter of a namespace whose local part is memory.
func New(namespace string, memory *adapter.Memory, bus Bus, h adapter.Handler) *Adapter {
	return &Adapter{bus: bus, state: &state{Memory: memory, namespace: namespace, handler: h, timeout: DefaultTimeout,
		requests: map[uint64]*request{}, asking: map[asker][]func(){},
		told: told{self: map[Worker]adapter.Origin{}, asked: map[adapter.Origin]asked{}}}}
}

var _ adapter.Adapter = (*Adapter)(nil)

// here tells whether o is for this worker alone.
func (a *Adapter) here(o adapter.Opts) bool {
	if o.Flags.Local {
		return true
	}
	for _, r := range o.Rooms {
		if a.Local(adapter.SocketID(r)) == nil {
			return false
		}
	}
	return len(o.Rooms) > 0
}

// Broadcast implements adapter.Adapter.
func (a *Adapter) Broadcast(p *adapter.Packet, o adapter.Opts) error {
	if h := a.History(); h != nil {
		return a.emit(h, p, o)
	}
	var err error
	if !a.here(o) && len(a.bus.Others()) > 0 {
		err = a.bus.Broadcast(a.broadcast(p, o))
	}
	if local := a.Memory.Broadcast(p, o); local != nil {
		return local
	}
	return err
}

// broadcast is the message of what is not kept. With recovery it goes as data: each worker
// adds an offset of its own.
func (a *Adapter) broadcast(p *adapter.Packet, o adapter.Opts) []byte {
	var forms []encoded
	size := sizeOf(p)
	if a.History() == nil {
		if all, n := a.encode(p); n > 0 {
			forms, size = all, n
		}
	}
	w := newWriter(opBroadcast, size)
	w.number(flagIf(forms != nil, flagEncoded) | flagIf(o.Flags.Volatile, flagVolatile) | flagIf(p.NoRecovery, flagNoRecovery) | flagIf(p.Uncompressed, flagUncompressed))
	w.opts(o)
	if forms != nil {
		w.number(uint64(len(p.Data)))
		w.forms(forms)
		return w.b
	}
	w.bytes(p.Data)
	w.list(p.Attachments)
	return w.b
}

func sizeOf(p *adapter.Packet) int {
	size := len(p.Data)
	for _, a := range p.Attachments {
		size += len(a) + 8
	}
	return size
}

// JoinAll implements adapter.Adapter.
func (a *Adapter) JoinAll(o adapter.Opts, rooms ...adapter.Room) error {
	err := a.move(opJoin, o, rooms)
	_ = a.Memory.JoinAll(o, rooms...)
	return err
}

// LeaveAll implements adapter.Adapter.
func (a *Adapter) LeaveAll(o adapter.Opts, rooms ...adapter.Room) error {
	err := a.move(opLeave, o, rooms)
	_ = a.Memory.LeaveAll(o, rooms...)
	return err
}

func (a *Adapter) move(what op, o adapter.Opts, rooms []adapter.Room) error {
	if a.here(o) || len(a.bus.Others()) == 0 {
		return nil
	}
	w := newWriter(what, 0)
	w.opts(o)
	w.rooms(rooms)
	return a.bus.Broadcast(w.b)
}

// DisconnectAll implements adapter.Adapter.
func (a *Adapter) DisconnectAll(o adapter.Opts, closing bool) error {
	var err error
	if !a.here(o) && len(a.bus.Others()) > 0 {
		w := newWriter(opDisconnect, 0)
		w.number(map[bool]uint64{true: 1}[closing])
		w.opts(o)
		err = a.bus.Broadcast(w.b)
	}
	_ = a.Memory.DisconnectAll(o, closing)
	return err
}

// Workers implements adapter.Adapter.
func (a *Adapter) Workers(context.Context) (int, error) { return len(a.bus.Others()) + 1, nil }

// Close implements adapter.Adapter.
func (a *Adapter) Close() error {
	a.mu.Lock()
	asking := a.asking
	a.asking = map[asker][]func(){}
	a.mu.Unlock()
	forget(asking)
	a.closeHistory()
	return a.bus.Close()
}

func forget(asking map[asker][]func()) {
	for _, all := range asking {
		for _, f := range all {
			f()
		}
	}
}

// Left says that a worker has gone: nothing comes from it any more.
func (a *Adapter) Left(worker Worker) {
	gone := map[asker][]func(){}
	a.mu.Lock()
	for _, q := range a.requests {
		q.tell(answer{from: worker, what: opLeft})
	}
	for k, all := range a.asking {
		if k.worker == worker {
			gone[k] = all
			delete(a.asking, k)
		}
	}
	a.mu.Unlock()
	forget(gone)
	a.leftHistory(worker)
}

// Receive handles a message of another worker. It does not block, and keeps the message.
// An error means that the other does not speak this version.
func (a *Adapter) Receive(from Worker, message []byte) error {
	if len(message) == 0 {
		return errMessage
	}
	what, r := op(message[0]), &reader{b: message[1:]}
	switch what {
	case opBroadcast:
		flags := r.number()
		o := r.opts()
		var p *adapter.Packet
		if flags&flagEncoded != 0 {
			p = a.encodedEvent(r, r.number())
		} else {
			p = a.event(r)
		}
		if err := r.err(); err != nil {
			return err
		}
		o.Flags.Volatile = flags&flagVolatile != 0
		p.NoRecovery, p.Uncompressed = flags&flagNoRecovery != 0, flags&flagUncompressed != 0
		return a.Memory.Broadcast(p, o)
	case opAsk:
		id, flags, o, p := r.number(), r.number(), r.opts(), a.event(r)
		if err := r.err(); err != nil {
			return err
		}
		p.Uncompressed = flags&flagUncompressed != 0
		a.ask(asker{from, id}, o, p)
	case opEnough:
		k := asker{from, r.number()}
		a.mu.Lock()
		all := a.asking[k]
		delete(a.asking, k)
		a.mu.Unlock()
		forget(map[asker][]func(){k: all})
		return r.err()
	case opJoin, opLeave:
		o, rooms := r.opts(), r.rooms()
		if err := r.err(); err != nil {
			return err
		}
		if what == opJoin {
			return a.Memory.JoinAll(o, rooms...)
		}
		return a.Memory.LeaveAll(o, rooms...)
	case opDisconnect:
		closing, o := r.number() == 1, r.opts()
		if err := r.err(); err != nil {
			return err
		}
		return a.Memory.DisconnectAll(o, closing)
	case opFetch:
		id, o := r.number(), r.opts()
		if err := r.err(); err != nil {
			return err
		}
		found, _ := a.Memory.Fetch(context.Background(), o)
		data, err := json.Marshal(found)
		if err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
		a.reply(from, opFetched, id, func(w *writer) { w.bytes(data) })
	case opAllRooms:
		id := r.number()
		if err := r.err(); err != nil {
			return err
		}
		rooms, _ := a.Memory.AllRooms(context.Background())
		a.reply(from, opRooms, id, func(w *writer) { w.rooms(rooms) })
	case opServerSide:
		id, data := r.number(), r.bytes()
		if err := r.err(); err != nil {
			return err
		}
		var reply func(json.RawMessage)
		if id != 0 {
			reply = func(data json.RawMessage) {
				a.reply(from, opServerSideAck, id, func(w *writer) { w.bytes(data) })
			}
		}
		a.handler.ServerSideEmit(data, reply)
	case opEvent:
		e := a.entry(r)
		if err := r.err(); err != nil {
			return err
		}
		return a.took(from, e)
	case opSync:
		return a.receiveSync(from, r)
	case opWant:
		return a.receiveWant(from, r)
	case opHistory:
		return a.receiveHistory(from, r)
	case opTake:
		return a.receiveTake(from, r)
	case opSaved:
		return a.receiveSaved(r)
	case opForget:
		return a.receiveForget(r)
	case opForms:
		bits := r.number()
		if err := r.err(); err != nil {
			return err
		}
		a.forms.others.Or(uint32(bits))
	case opAsked, opAck, opFetched, opRooms, opServerSideAck, opTaken:
		id := r.number()
		if r.bad {
			return errMessage
		}
		a.mu.Lock()
		q := a.requests[id]
		a.mu.Unlock()
		switch {
		case q != nil:
			q.tell(answer{from: from, what: what, fields: *r})
		case what == opTaken:
			return a.receiveSaved(r) // the client did not wait
		}
	default:
		return errMessage
	}
	return nil
}

// event reads a packet.
func (a *Adapter) event(r *reader) *adapter.Packet { return a.packet(r.bytes(), r.list()) }

func (a *Adapter) packet(data []byte, attachments [][]byte) *adapter.Packet {
	return &adapter.Packet{Packet: parser.Packet{Type: parser.Event, Namespace: a.namespace, Data: data, Attachments: attachments}}
}

func (a *Adapter) reply(to Worker, what op, id uint64, fields func(*writer)) {
	w := newWriter(what, 0)
	w.number(id)
	fields(w)
	_ = a.bus.Send(to, w.b) // one that has left needs no answer
}

// foreignID is where the ids of packets begin that others have our sockets asked: those
// of the namespace itself begin at 1, and a socket may be asked both at a time.
const foreignID = 1 << 40

// ask asks the local sockets for another worker.
func (a *Adapter) ask(k asker, o adapter.Opts, p *adapter.Packet) {
	p.HasID, p.ID = true, foreignID+a.ids.Add(1)
	var sockets []adapter.Socket
	a.Each(o, func(s adapter.Socket) bool { sockets = append(sockets, s); return true })
	a.reply(k.worker, opAsked, k.id, func(w *writer) { w.number(uint64(len(sockets))) })
	if len(sockets) == 0 {
		return
	}
	all := make([]func(), len(sockets))
	for i, s := range sockets {
		all[i] = s.DeliverAck(p, func(r parser.Raw) {
			a.reply(k.worker, opAck, k.id, func(w *writer) { w.bytes(r.JSON); w.list(r.Attachments) })
		})
	}
	a.mu.Lock()
	a.asking[k] = all
	a.mu.Unlock()
}
