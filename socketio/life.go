package socketio

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/engineio"
	"github.com/chaussette/chaussette/socketio/parser"
)

// A Socket's life is a queue of jobs: to connect, its events, to disconnect. A goroutine
// takes them while there are any. One that finds the queue empty, and calls nothing of the
// app's that waits for its client, is done where the client was read: to change goroutines
// costs more than most handlers.

type job struct {
	next    *job
	event   Event
	handler *handler // of the event, nil if it has none
	size    int
	do      func() // instead of the event
	quick   bool   // do does not wait
}

// here tells whether j may be done by who reads from the client.
func (j *job) here() bool {
	if j.do != nil {
		return j.quick
	}
	return j.handler == nil || !j.handler.waits
}

var errFlood = errors.New("the client sends faster than its events are handled")

// receive queues an event.
func (s *Socket) receive(p *parser.Packet) error {
	name, args, err := parser.EventName(p.Data)
	if err != nil {
		return err
	}
	j := &job{size: len(p.Data), event: Event{Name: name, socket: s, id: p.ID, wants: p.HasID}}
	for _, a := range p.Attachments {
		j.size += len(a)
	}
	if len(args) > 0 {
		j.event.Args = make(Args, len(args))
		for i, a := range args {
			j.event.Args[i] = Raw{JSON: a, Attachments: p.Attachments}
		}
	}
	h := s.ns.handlers
	h.mu.RLock()
	j.handler = h.events[name]
	h.mu.RUnlock()
	if !s.push(j) {
		return errFlood
	}
	return nil
}

// push queues j, and starts the goroutine if there is none. It is false if an event finds
// no room.
func (s *Socket) push(j *job) bool {
	o := s.ns.server.options
	s.mu.Lock()
	if j.do == nil {
		if s.state == socketClosed {
			s.mu.Unlock()
			return true // what comes after the end is dropped
		}
		if int(s.pending) >= o.MaxPending || s.pending > 0 && s.bytes+j.size > o.MaxPendingBytes {
			s.mu.Unlock()
			return false
		}
	}
	if s.tail == nil {
		s.head = j
	} else {
		s.tail.next = j
	}
	s.tail = j
	s.pending++
	if j.next != nil { // of begin
		s.tail = j.next
		s.pending++
	}
	s.bytes += j.size
	start := !s.running
	s.running = true
	s.mu.Unlock()
	switch {
	case !start:
	case j.here():
		s.run(true)
	default:
		s.ns.server.workers.run(s)
	}
	return true
}

// run does what is queued, and returns when nothing is; here says that it is called by
// who reads from the client, and must leave to others what may wait for it.
func (s *Socket) run(here bool) {
	for {
		s.mu.Lock()
		j := s.head
		if j == nil {
			s.running = false
			s.mu.Unlock()
			return
		}
		if here && !j.here() {
			s.mu.Unlock()
			s.ns.server.workers.run(s)
			return
		}
		if s.head = j.next; s.head == nil {
			s.tail = nil
		}
		s.pending--
		s.bytes -= j.size
		refused := !s.entered // by the middleware, or it has left before it was in
		s.mu.Unlock()
		switch {
		case j.do != nil:
			s.guard("connecting or disconnecting", j.do)
		case !refused:
			s.handle(&j.event, j.handler)
		}
	}
}

// guard calls f and logs a panic.
func (s *Socket) guard(what string, f func()) (panicked bool) {
	defer func() {
		if v := recover(); v != nil {
			panicked = true
			s.ns.server.options.Logger.Error("socket.io handler panicked", "namespace", s.ns.name, "what", what,
				"panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	f()
	return false
}

// handle passes e through the listeners and middleware to its handler.
func (s *Socket) handle(e *Event, handler *handler) {
	h := s.ns.handlers
	h.mu.RLock()
	incoming, intercept := h.incoming, h.intercept
	h.mu.RUnlock()
	var results []any
	var err error
	panicked := s.guard(e.Name, func() {
		for _, f := range incoming {
			f(s, e)
		}
		for _, f := range intercept {
			if err = f(s, e); err != nil {
				return
			}
		}
		if handler != nil {
			results, err = handler.call(s, e)
		}
	})
	if panicked {
		err = &Error{Message: "internal error"}
	}
	switch {
	case err != nil:
		if !panicked {
			s.ns.server.options.Logger.Debug("socket.io event failed", "namespace", s.ns.name, "event", e.Name, "error", err)
		}
		_ = e.Ack(ackError(err))
	case handler == nil:
		// A listener may have acknowledged; nobody else will.
	case len(results) > 0 || !handler.acksSelf && handler.raw == nil:
		if err := e.Ack(results...); err != nil && !errors.Is(err, ErrDisconnected) {
			s.ns.server.options.Logger.Error("socket.io acknowledgement failed", "namespace", s.ns.name, "event", e.Name, "error", err)
		}
	}
}

// begin queues the first jobs of a Socket: to let the client in, and to call OnConnect.
func (s *Socket) begin() {
	h := s.ns.handlers
	h.mu.RLock()
	quick := len(h.middleware) == 0 && s.ns.server.options.Recovery == nil
	welcomed := len(h.connect) > 0
	h.mu.RUnlock()
	j := &job{do: s.connect, quick: quick}
	if welcomed {
		j.next = &job{do: s.welcome}
	}
	s.push(j)
}

// connect lets the client in, or refuses it: the first job of a Socket.
func (s *Socket) connect() {
	recovery := s.ns.server.options.Recovery
	if recovery != nil && recovery.SkipMiddleware && s.recover() {
		return
	}
	if err := s.admit(); err != nil {
		s.refuse(err)
		return
	}
	if recovery == nil || !s.recover() {
		s.enter(s.connectData())
	}
}

// admit asks the middleware. A panic of it refuses.
func (s *Socket) admit() (err error) {
	h := s.ns.handlers
	h.mu.RLock()
	middleware := h.middleware
	h.mu.RUnlock()
	if s.guard("middleware", func() {
		for _, f := range middleware {
			if err = f(s); err != nil {
				return
			}
		}
	}) {
		return &Error{Message: "internal error"}
	}
	return err
}

func (s *Socket) refuse(err error) {
	s.mu.Lock()
	gone := s.state == socketClosed
	s.state = socketClosed
	s.mu.Unlock()
	if gone {
		return
	}
	s.client.remove(s, true)
	s.ns.sockets.Add(-1)
	_ = s.send(&parser.Packet{Type: parser.ConnectError, Namespace: s.ns.name, Data: connectError(err)})
	s.ns.server.tidy(s.ns)
}

// connectData is what the client is told of itself.
func (s *Socket) connectData() []byte {
	s.mu.Lock()
	if s.ns.server.options.Recovery != nil && s.extraLocked().pid == "" {
		s.extra.pid = s.ns.server.engine.NewID()
	}
	pid := ""
	if s.extra != nil {
		pid = s.extra.pid
	}
	s.mu.Unlock()
	data := strconv.AppendQuote([]byte(`{"sid":`), string(s.id))
	if pid != "" {
		data = strconv.AppendQuote(append(data, `,"pid":`...), pid)
	}
	return append(data, '}')
}

// enter makes the client one of the namespace's, unless it is gone, and tells it.
func (s *Socket) enter(data []byte) {
	e := &early{}
	s.mu.Lock()
	if s.state == socketClosed {
		s.mu.Unlock()
		return
	}
	s.early.Store(e)
	s.state, s.entered = socketConnected, true
	s.ns.adapter.Add(s)
	s.mu.Unlock()
	// In 0.9 the transport has greeted the client; for the root that was all.
	if s.client.session.Revision() != engineio.Revision09 || s.ns.name != "/" {
		_ = s.client.send(&parser.Packet{Type: parser.Connect, Namespace: s.ns.name, Data: data})
	}
	e.release(s.client.session)
	s.early.Store(nil)
}

// recover brings back the session that the client says it had.
func (s *Socket) recover() bool {
	var auth struct{ PID, Offset string }
	if s.auth == "" || s.Auth().Unmarshal(&auth) != nil || auth.PID == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(s.Context(), 5*time.Second)
	defer cancel()
	var saved adapter.SavedSession
	restored, err := s.ns.adapter.Restore(ctx, auth.PID, auth.Offset, func(was adapter.SavedSession) adapter.Socket {
		saved = was
		s.mu.Lock()
		s.id, s.data = was.ID, s.ns.restoreData(was.Data)
		x := s.extraLocked()
		x.pid, x.recovered = was.PID, true
		s.mu.Unlock()
		_ = s.client.send(&parser.Packet{Type: parser.Connect, Namespace: s.ns.name, Data: s.connectData()})
		for _, p := range was.Missed {
			s.Deliver(p, adapter.Flags{})
		}
		return s
	})
	if err != nil {
		s.ns.server.options.Logger.Warn("socket.io session not recovered", "namespace", s.ns.name, "error", err)
	}
	if !restored {
		return false
	}
	s.mu.Lock()
	gone := s.state == socketClosed
	if !gone {
		s.state, s.entered = socketConnected, true
	}
	s.mu.Unlock()
	if gone { // it left meanwhile, and may come back
		s.ns.adapter.Remove(s)
		s.ns.adapter.Save(saved)
	}
	return true
}

// welcome calls OnConnect, for a client that was let in.
func (s *Socket) welcome() {
	s.mu.Lock()
	entered := s.entered
	s.mu.Unlock()
	if !entered {
		return
	}
	h := s.ns.handlers
	h.mu.RLock()
	welcome := h.connect
	h.mu.RUnlock()
	for _, f := range welcome {
		f(s)
	}
}

// close ends the socket, once.
func (s *Socket) close(reason Reason) {
	h := s.ns.handlers
	h.mu.RLock()
	mourned := len(h.disconnect) > 0 || s.ns.server.options.Recovery != nil
	h.mu.RUnlock()
	var rooms []Room
	if mourned {
		rooms = s.ns.adapter.Rooms(s)
	}
	s.mu.Lock()
	was := s.state
	if was == socketClosed {
		s.mu.Unlock()
		return
	}
	s.state = socketClosed
	busy := s.running
	acks := s.acks
	s.acks = nil
	if rooms != nil {
		s.extraLocked().rooms = rooms
	}
	if s.extra != nil && s.extra.cancel != nil {
		s.extra.cancel()
	}
	s.mu.Unlock()
	s.client.remove(s, reason == ServerDisconnect)
	for _, f := range acks {
		f(Raw{}, ErrDisconnected)
	}
	s.ns.sockets.Add(-1)
	if was != socketConnected {
		s.ns.server.tidy(s.ns)
		return
	}
	s.ns.adapter.Remove(s)
	if mourned || busy || s.ns.parent != nil {
		s.ns.server.leaving.add()
		s.push(&job{do: func() {
			defer s.ns.server.leaving.done()
			s.leave(reason, rooms)
		}})
	}
}

// leave is the last job of a Socket that was connected.
func (s *Socket) leave(reason Reason, rooms []Room) {
	s.mu.Lock()
	pid := ""
	if s.extra != nil {
		pid = s.extra.pid
	}
	data := s.data
	s.mu.Unlock()
	switch {
	case pid == "":
	case recoverable(reason):
		if len(rooms) > 0 {
			rooms = rooms[1:] // without that of its id
		}
		s.ns.adapter.Save(adapter.SavedSession{PID: pid, ID: s.id, Rooms: rooms, Data: data})
	default:
		s.ns.adapter.Forget(pid)
	}
	h := s.ns.handlers
	h.mu.RLock()
	farewell := h.disconnect
	h.mu.RUnlock()
	for _, f := range farewell {
		f(s, reason)
	}
	s.ns.server.tidy(s.ns)
}
