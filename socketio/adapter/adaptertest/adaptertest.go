// Package adaptertest is the suite that every adapter passes: what the doc comments of
// adapter.Adapter promise, on one worker or on several.
package adaptertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/parser"
)

// Cluster is the namespace under test on its workers, one Adapter each. Workers that are
// told of one another take part in everything but what is local.
type Cluster struct {
	Adapters []adapter.Adapter
	Handlers []*Handler // of the adapters, in their order
}

// Run runs the suite. Make makes a fresh cluster with as many workers as the adapter
// supports, at most three, and has the test close it. Patience is how long something may
// take to reach another worker.
func Run(t *testing.T, patience time.Duration, make func(t *testing.T) *Cluster) {
	for _, c := range []struct {
		name string
		run  func(s *suite)
	}{
		{"broadcast", broadcast}, {"once", once}, {"except", except}, {"own room", ownRoom}, {"leave", leave}, {"remove", remove},
		{"local", local}, {"shared packet", sharedPacket}, {"uncompressed", uncompressed}, {"order", order}, {"join and leave all", joinAll}, {"disconnect", disconnect},
		{"fetch", fetch}, {"all rooms", allRooms}, {"acks", acks}, {"acks that are missing", missingAcks},
		{"acks of nobody", noAcks}, {"server-side emit", serverSideEmit}, {"workers", workers}, {"at once", atOnce},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &suite{T: t, Cluster: make(t), patience: patience}
			c.run(s)
		})
	}
}

type suite struct {
	*testing.T
	*Cluster
	patience time.Duration
	sockets  []*Socket
	barriers int
}

// Socket is an adapter.Socket that keeps what it gets.
type Socket struct {
	id         adapter.SocketID
	adapter    adapter.Adapter
	membership adapter.Membership
	answer     string // to what wants an ack; none if empty

	mu           sync.Mutex // guards what follows
	got          []string
	packets      []*adapter.Packet
	disconnected string
}

// ID implements adapter.Socket.
func (s *Socket) ID() adapter.SocketID { return s.id }

// Membership implements adapter.Socket.
func (s *Socket) Membership() *adapter.Membership { return &s.membership }

// Deliver implements adapter.Socket.
func (s *Socket) Deliver(p *adapter.Packet, _ adapter.Flags) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, string(p.Data))
	s.packets = append(s.packets, p)
	return true
}

// Delivered implements adapter.Socket.
func (s *Socket) Delivered(*adapter.Packet) {}

// DeliverAck implements adapter.Socket.
func (s *Socket) DeliverAck(p *adapter.Packet, ack func(parser.Raw)) (forget func()) {
	s.Deliver(p, adapter.Flags{})
	if s.answer != "" {
		go ack(parser.Raw{JSON: json.RawMessage(s.answer)})
	}
	return func() {}
}

// Describe implements adapter.Socket.
func (s *Socket) Describe() adapter.Description {
	return adapter.Description{ID: s.id, Data: json.RawMessage(fmt.Sprintf("%q", s.id)), Handshake: adapter.Handshake{Address: "192.0.2.1:9"}}
}

// Disconnect implements adapter.Socket.
func (s *Socket) Disconnect(closing bool) {
	s.adapter.Remove(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disconnected = fmt.Sprint("closing ", closing)
}

// NewSocket returns a Socket for a that is not added to it. It gives no answers.
func NewSocket(a adapter.Adapter, id adapter.SocketID) *Socket { return &Socket{id: id, adapter: a} }

// Events are what the socket got: the JSON of each packet.
func (s *Socket) Events() []string { return s.all() }

// Handler is an adapter.Handler that answers with its name.
type Handler struct {
	Name string

	mu  sync.Mutex // guards what follows
	got []string
}

// ServerSideEmit implements adapter.Handler.
func (h *Handler) ServerSideEmit(data json.RawMessage, answer func(json.RawMessage)) {
	h.mu.Lock()
	h.got = append(h.got, string(data))
	h.mu.Unlock()
	if answer != nil {
		go answer(json.RawMessage(fmt.Sprintf("[%q]", h.Name)))
	}
}

// add adds n sockets, spread over the workers, and puts each into rooms.
func (s *suite) add(n int, rooms ...adapter.Room) []*Socket {
	for range n {
		i := len(s.sockets)
		a := s.Adapters[i%len(s.Adapters)]
		socket := &Socket{id: adapter.SocketID(fmt.Sprintf("socket-%d", i)), adapter: a, answer: fmt.Sprintf("[%d]", i)}
		a.Add(socket)
		a.Join(socket, rooms...)
		s.sockets = append(s.sockets, socket)
	}
	return s.sockets[len(s.sockets)-n:]
}

// eventually waits until f is true.
func (s *suite) eventually(what string, f func() bool) {
	s.Helper()
	for end := time.Now().Add(s.patience); !f(); {
		if time.Now().After(end) {
			s.Fatalf("not in %v: %s", s.patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}

// barrier returns when what was sent before has arrived everywhere: it follows by a
// packet of its own, from each worker.
func (s *suite) barrier() {
	s.Helper()
	for i, a := range s.Adapters {
		s.barriers++
		name := fmt.Sprintf("barrier %d of %d", s.barriers, i)
		if err := a.Broadcast(Event(name), adapter.Opts{}); err != nil {
			s.Fatal(err)
		}
		for _, socket := range s.sockets {
			if a := socket.adapter; a.Local(socket.id) == nil {
				continue // removed
			}
			s.eventually(name, func() bool { return socket.Got(name) })
		}
	}
}

func (s *Socket) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// events are what the socket got, without barriers.
func (s *Socket) events() string {
	var events []string
	for _, e := range s.all() {
		if !strings.Contains(e, "barrier") {
			events = append(events, strings.Trim(e, `[]"`))
		}
	}
	return strings.Join(events, " ")
}

// want checks what each socket has got, after a barrier.
func (s *suite) want(events ...string) {
	s.Helper()
	s.barrier()
	for i, want := range events {
		if got := s.sockets[i].events(); got != want {
			s.Errorf("%s got %q, want %q", s.sockets[i].id, got, want)
		}
	}
}

func (s *suite) broadcast(a adapter.Adapter, name string, o adapter.Opts) {
	s.Helper()
	if err := a.Broadcast(Event(name), o); err != nil {
		s.Error(err)
	}
}

func rooms(names ...adapter.Room) adapter.Opts { return adapter.Opts{Rooms: names} }

func broadcast(s *suite) {
	s.add(3)
	s.add(3, "a")
	for i, a := range s.Adapters {
		s.broadcast(a, fmt.Sprintf("all%d", i), adapter.Opts{})
		s.broadcast(a, fmt.Sprintf("a%d", i), rooms("a"))
		s.broadcast(a, "none", rooms("nobody"))
		s.barrier() // between workers there is no order
	}
	var all, both []string
	for i := range s.Adapters {
		all = append(all, fmt.Sprintf("all%d", i))
		both = append(both, fmt.Sprintf("all%d a%d", i, i))
	}
	out, in := strings.Join(all, " "), strings.Join(both, " ")
	s.want(out, out, out, in, in, in)
}

func once(s *suite) {
	s.add(3, "a", "b", "a")
	s.broadcast(s.Adapters[0], "x", rooms("a", "b", "a"))
	s.want("x", "x", "x")
}

func except(s *suite) {
	s.add(3, "a")
	s.add(3, "a", "b")
	s.broadcast(s.Adapters[0], "x", adapter.Opts{Rooms: []adapter.Room{"a"}, Except: []adapter.Room{"b", "socket-1"}})
	s.broadcast(s.Adapters[0], "y", adapter.Opts{Except: []adapter.Room{"a"}})
	s.want("x", "", "x", "", "", "")
}

func ownRoom(s *suite) {
	s.add(4)
	s.broadcast(s.Adapters[0], "x", rooms("socket-1"))
	for _, socket := range s.sockets {
		socket.adapter.Leave(socket, adapter.Room(socket.id)) // it cannot
		if got := socket.adapter.Rooms(socket); len(got) != 1 || got[0] != adapter.Room(socket.id) {
			s.Errorf("%s is in %v", socket.id, got)
		}
	}
	s.broadcast(s.Adapters[0], "y", rooms("socket-1"))
	s.want("", "x y", "", "")
}

func leave(s *suite) {
	sockets := s.add(3, "a", "b")
	for _, socket := range sockets {
		socket.adapter.Leave(socket, "a", "never there")
		socket.adapter.Leave(socket, "a")
		if got := socket.adapter.Rooms(socket); !slices.Equal(got, []adapter.Room{adapter.Room(socket.id), "b"}) {
			s.Errorf("%s is in %v", socket.id, got)
		}
	}
	s.broadcast(s.Adapters[0], "a", rooms("a"))
	s.broadcast(s.Adapters[0], "b", rooms("b"))
	s.want("b", "b", "b")
}

func remove(s *suite) {
	sockets := s.add(6, "a")
	for _, socket := range sockets[:3] {
		socket.adapter.Remove(socket)
		socket.adapter.Remove(socket)
		socket.adapter.Join(socket, "a")
		if socket.adapter.Local(socket.id) != nil || socket.adapter.Rooms(socket) != nil {
			s.Errorf("%s is still known", socket.id)
		}
	}
	s.broadcast(s.Adapters[0], "x", rooms("a"))
	s.broadcast(s.Adapters[0], "y", adapter.Opts{})
	s.want("", "", "", "x y", "x y", "x y")
}

func local(s *suite) {
	s.add(3)
	s.broadcast(s.Adapters[0], "x", adapter.Opts{Flags: adapter.Flags{Local: true}})
	s.barrier()
	for i, socket := range s.sockets {
		want := map[bool]string{true: "x"}[i%len(s.Adapters) == 0]
		if got := socket.events(); got != want {
			s.Errorf("%s got %q, want %q", socket.id, got, want)
		}
	}
	n := 0
	s.Adapters[0].Each(adapter.Opts{}, func(adapter.Socket) bool { n++; return n < 1 })
	if n != 1 {
		s.Errorf("Each went on, %d times", n)
	}
}

// The sockets of a worker get one packet, and it is encoded once.
func sharedPacket(s *suite) {
	s.add(9, "a")
	s.broadcast(s.Adapters[0], "x", rooms("a"))
	s.barrier()
	for _, socket := range s.sockets {
		p := socket.packets[0]
		if first := s.sockets[slices.IndexFunc(s.sockets, func(o *Socket) bool { return o.adapter == socket.adapter })]; first.packets[0] != p {
			s.Errorf("%s has a packet of its own", socket.id)
		}
		n := 0
		for range 2 {
			p.Encoded("key of "+string(socket.id), func(*parser.Packet) any { n++; return n })
		}
		if n != 1 {
			s.Errorf("encoded %d times", n)
		}
	}
}

// What is not to be compressed is known to be so on each worker, and what may be is not.
func uncompressed(s *suite) {
	s.add(3, "a")
	plain, plainAck := Event("plain"), question()
	plain.Uncompressed, plainAck.Uncompressed = true, true
	packedAck := Event("packed?")
	packedAck.HasID, packedAck.ID = true, 8
	ctx, cancel := context.WithTimeout(s.Context(), s.patience)
	defer cancel()
	for _, p := range []*adapter.Packet{plain, Event("packed")} {
		s.check(s.Adapters[0].Broadcast(p, rooms("a")))
	}
	for _, p := range []*adapter.Packet{plainAck, packedAck} {
		_, err := s.Adapters[0].BroadcastAck(ctx, p, rooms("a"), func(parser.Raw) {})
		s.check(err)
	}
	s.want("plain packed ? packed?", "plain packed ? packed?", "plain packed ? packed?")
	for _, socket := range s.sockets {
		for i, want := range []bool{true, false, true, false} {
			if p := socket.packets[i]; p.Uncompressed != want {
				s.Errorf("%s: %s is to be compressed: %t", socket.id, p.Data, want)
			}
		}
	}
}

func order(s *suite) {
	s.add(3, "a")
	var want []string
	for i := range 50 {
		s.broadcast(s.Adapters[0], fmt.Sprint(i), rooms("a"))
		want = append(want, fmt.Sprint(i))
	}
	all := strings.Join(want, " ")
	s.want(all, all, all)
}

func joinAll(s *suite) {
	s.add(3, "a")
	s.add(3)
	a := s.Adapters[0]
	s.check(a.JoinAll(rooms("a"), "b", "c"))
	s.broadcast(a, "b", rooms("b"))
	s.check(a.LeaveAll(rooms("c"), "b"))
	s.broadcast(a, "c", rooms("b"))
	s.check(a.JoinAll(adapter.Opts{Except: []adapter.Room{"a"}}, "d"))
	s.broadcast(a, "d", rooms("d"))
	s.want("b", "b", "b", "d", "d", "d")
}

func (s *suite) check(err error) {
	s.Helper()
	if err != nil {
		s.Error(err)
	}
}

func disconnect(s *suite) {
	s.add(3, "a")
	s.add(3)
	s.check(s.Adapters[0].DisconnectAll(rooms("a"), true))
	for i, socket := range s.sockets {
		want := map[bool]string{true: "closing true"}[i < 3]
		s.eventually("disconnected", func() bool {
			socket.mu.Lock()
			defer socket.mu.Unlock()
			return socket.disconnected == want
		})
	}
}

func fetch(s *suite) {
	s.add(3, "a", "b")
	s.add(3)
	s.barrier()
	ctx, cancel := context.WithTimeout(s.Context(), s.patience)
	defer cancel()
	found, err := s.Adapters[0].Fetch(ctx, rooms("a"))
	s.check(err)
	slices.SortFunc(found, func(a, b adapter.Description) int { return strings.Compare(string(a.ID), string(b.ID)) })
	if len(found) != 3 {
		s.Fatalf("%d sockets, want 3", len(found))
	}
	for i, d := range found {
		id := fmt.Sprintf("socket-%d", i)
		if string(d.ID) != id || string(d.Data) != `"`+id+`"` || d.Handshake.Address != "192.0.2.1:9" ||
			!slices.Equal(d.Rooms, []adapter.Room{adapter.Room(id), "a", "b"}) {
			s.Errorf("%+v", d)
		}
	}
	if all, err := s.Adapters[0].Fetch(ctx, adapter.Opts{}); err != nil || len(all) != 6 {
		s.Errorf("%d sockets of 6, %v", len(all), err)
	}
}

func allRooms(s *suite) {
	s.add(3, "a")
	s.barrier()
	got, err := s.Adapters[0].AllRooms(s.Context())
	s.check(err)
	slices.Sort(got)
	if want := []adapter.Room{"a", "socket-0", "socket-1", "socket-2"}; !slices.Equal(got, want) {
		s.Errorf("%v, want %v", got, want)
	}
}

func question() *adapter.Packet {
	p := Event("?")
	p.HasID, p.ID = true, 7
	return p
}

func acks(s *suite) {
	s.add(6, "a")
	ctx, cancel := context.WithTimeout(s.Context(), s.patience)
	defer cancel()
	var got []string
	expected, err := s.Adapters[0].BroadcastAck(ctx, question(), adapter.Opts{Rooms: []adapter.Room{"a"}, Except: []adapter.Room{"socket-3"}},
		func(r parser.Raw) { got = append(got, string(r.JSON)) })
	slices.Sort(got)
	if want := []string{"[0]", "[1]", "[2]", "[4]", "[5]"}; err != nil || expected != 5 || !slices.Equal(got, want) {
		s.Errorf("%v of %d, %v; want %v", got, expected, err, want)
	}
}

func missingAcks(s *suite) {
	s.add(6)[4].answer = ""
	s.barrier()
	ctx, cancel := context.WithTimeout(s.Context(), s.patience/4)
	defer cancel()
	n := 0
	expected, err := s.Adapters[0].BroadcastAck(ctx, question(), adapter.Opts{}, func(parser.Raw) { n++ })
	if n != 5 || expected != 6 || !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("%d of %d, %v", n, expected, err)
	}
}

func noAcks(s *suite) {
	s.add(3)
	expected, err := s.Adapters[0].BroadcastAck(s.Context(), question(), rooms("nobody"), func(parser.Raw) { s.Error("an ack") })
	if expected != 0 || err != nil {
		s.Error(expected, err)
	}
}

func serverSideEmit(s *suite) {
	s.check(s.Adapters[0].ServerSideEmit(json.RawMessage(`["x",1]`)))
	ctx, cancel := context.WithTimeout(s.Context(), s.patience)
	defer cancel()
	answers, err := s.Adapters[0].ServerSideEmitAck(ctx, json.RawMessage(`["y"]`))
	s.check(err)
	if len(answers) != len(s.Adapters)-1 {
		s.Errorf("%d answers of %d others", len(answers), len(s.Adapters)-1)
	}
	for i, h := range s.Handlers {
		s.eventually("emitted", func() bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			return i == 0 && len(h.got) == 0 || slices.Equal(h.got, []string{`["x",1]`, `["y"]`})
		})
	}
}

func workers(s *suite) {
	for _, a := range s.Adapters {
		if n, err := a.Workers(s.Context()); n != len(s.Adapters) || err != nil {
			s.Errorf("%d workers of %d, %v", n, len(s.Adapters), err)
		}
	}
}

// Everything at once, for the race detector.
func atOnce(s *suite) {
	sockets := s.add(6, "a")
	var all sync.WaitGroup
	for _, socket := range sockets {
		a := socket.adapter
		all.Go(func() {
			for i := range 50 {
				a.Join(socket, "b", adapter.Room(fmt.Sprint(i)))
				_ = a.Broadcast(Event("x"), rooms("b"))
				a.Leave(socket, "b")
				a.Rooms(socket)
				a.Remove(socket)
				a.Add(socket)
			}
		})
	}
	all.Wait()
	for _, socket := range sockets {
		if got := socket.adapter.Rooms(socket); len(got) != 1 {
			s.Errorf("%s is in %v", socket.id, got)
		}
	}
}
