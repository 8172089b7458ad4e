// Package siblings is the adapter of the workers on one socket: they need no broker, and
// nothing is to be configured.
package siblings

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/chaussette/chaussette/listener/siblings"
	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/cluster"
)

// Hub joins the namespaces of a worker to those of its siblings. A message between them
// is one byte that says what it is, the namespace's name with its length before it, and
// for a message of package cluster that.
type Hub struct {
	siblings *siblings.Siblings
	log      *slog.Logger

	mu     sync.Mutex // guards what follows
	spaces map[string]*space
	theirs map[siblings.Tag]map[string]bool // which namespaces a sibling has
	silent map[siblings.Tag]bool            // those that have not said yet which they have
	spoken chan struct{}                    // closed when that changes; nil if nobody waits
}

// What a message is.
const (
	enter byte = iota + 1 // the sender has this namespace
	leave                 // not any more
	say                   // a message of package cluster
	all                   // those were all namespaces; it has no name
)

// NewHub returns the Hub of a worker. It is called before s is started. Nil for the
// logger discards.
func NewHub(s *siblings.Siblings, log *slog.Logger) *Hub {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := &Hub{siblings: s, log: log, spaces: map[string]*space{}, theirs: map[siblings.Tag]map[string]bool{}, silent: map[siblings.Tag]bool{}}
	s.Handle(siblings.SocketIO, h.receive)
	s.Watch(h.watch)
	return h
}

// Factory is an adapter.Factory.
func (h *Hub) Factory(namespace string, handler adapter.Handler) (adapter.Adapter, error) {
	return h.join(namespace, handler, adapter.NewMemory()), nil
}

// Recovering returns a Factory with connection state recovery.
func (h *Hub) Recovering(r adapter.Recovery) adapter.Factory {
	return func(namespace string, handler adapter.Handler) (adapter.Adapter, error) {
		return h.join(namespace, handler, adapter.NewRecovering(r)), nil
	}
}

// Adapter returns the adapter of a namespace whose local part is memory.
func (h *Hub) Adapter(namespace string, memory *adapter.Memory, handler adapter.Handler) *cluster.Adapter {
	return h.join(namespace, handler, memory)
}

func (h *Hub) join(namespace string, handler adapter.Handler, memory *adapter.Memory) *cluster.Adapter {
	s := &space{hub: h, name: namespace}
	a := cluster.New(namespace, memory, s, handler)
	s.enter(a)
	return a
}

// A Receiver takes what comes by a Bus: a *cluster.Adapter does. Its methods do not block.
type Receiver interface {
	// Receive takes a message. An error means that it is none.
	Receive(from cluster.Worker, message []byte) error
	// Joined says that the Bus reaches this worker from now on.
	Joined(cluster.Worker)
	// Left says that nothing comes from this worker any more.
	Left(cluster.Worker)
}

// Join makes a namespace known, and returns its Bus, for an adapter that has further ways
// to other workers. receiver is called with the Bus, before anything comes by it.
func (h *Hub) Join(namespace string, receiver func(cluster.Bus) Receiver) cluster.Bus {
	s := &space{hub: h, name: namespace}
	s.enter(receiver(s))
	return s
}

// Group names the workers on this socket. No other workers anywhere have this name.
func (h *Hub) Group() string {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // where there is none, the name of the host does
	host, _ := os.Hostname()
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %q", boot, host, h.siblings.Key()))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// Tag is this worker's: the others know it as the cluster.Worker of this name.
func (h *Hub) Tag() cluster.Worker { return cluster.Worker(h.siblings.Tag()) }

// enter makes s known to this worker and the others.
func (s *space) enter(r Receiver) {
	h := s.hub
	s.receiver = r
	h.mu.Lock()
	h.spaces[s.name] = s
	for t, names := range h.theirs {
		if names[s.name] {
			s.add(t)
		}
	}
	// Under the lock, so that a leave and an enter go out in their order.
	_, _ = h.siblings.Broadcast(siblings.SocketIO, s.message(enter, nil))
	h.mu.Unlock()
	for _, w := range s.Others() {
		r.Joined(w)
	}
}

func (h *Hub) watch(t siblings.Tag, joined bool) {
	h.mu.Lock()
	if joined {
		h.theirs[t] = map[string]bool{}
		for _, s := range h.spaces {
			_ = h.siblings.Send(t, siblings.SocketIO, s.message(enter, nil))
		}
		_ = h.siblings.Send(t, siblings.SocketIO, []byte{all, 0})
		h.silent[t] = true
		h.mu.Unlock()
		return
	}
	delete(h.theirs, t)
	h.spokeLocked(t)
	left := slices.Collect(maps.Values(h.spaces))
	h.mu.Unlock()
	for _, s := range left {
		s.remove(t)
		s.receiver.Left(cluster.Worker(t))
	}
}

// spokeLocked says that t will not say any more which namespaces it has. mu is held.
func (h *Hub) spokeLocked(t siblings.Tag) {
	delete(h.silent, t)
	if h.spoken != nil {
		close(h.spoken)
		h.spoken = nil
	}
}

// settle waits until all siblings have said which namespaces they have, or ctx ends.
func (h *Hub) settle(ctx context.Context) {
	for {
		h.mu.Lock()
		if len(h.silent) == 0 {
			h.mu.Unlock()
			return
		}
		if h.spoken == nil {
			h.spoken = make(chan struct{})
		}
		spoken := h.spoken
		h.mu.Unlock()
		select {
		case <-spoken:
		case <-ctx.Done():
			return
		}
	}
}

var errMessage = errors.New("not a message of this version")

func (h *Hub) receive(m siblings.Message) {
	if err := h.handle(m); err != nil {
		h.log.Warn("a sibling's message is dropped", "sibling", m.From, "error", err)
	}
}

func (h *Hub) handle(m siblings.Message) error {
	if len(m.Payload) < 2 {
		return errMessage
	}
	size, n := binary.Uvarint(m.Payload[1:])
	rest := m.Payload[1+max(n, 0):]
	if n <= 0 || size > uint64(len(rest)) {
		return errMessage
	}
	name, message := string(rest[:size]), rest[size:]
	h.mu.Lock()
	s, joined := h.spaces[name], false
	switch m.Payload[0] {
	case enter:
		if h.theirs[m.From] != nil {
			h.theirs[m.From][name] = true
		}
		joined = s != nil && s.add(m.From)
	case leave:
		delete(h.theirs[m.From], name)
	case all:
		h.spokeLocked(m.From)
	case say:
	default:
		h.mu.Unlock()
		return errMessage
	}
	h.mu.Unlock()
	if s == nil {
		return nil // it has the namespace, and this worker has not
	}
	switch m.Payload[0] {
	case enter:
		if joined {
			s.receiver.Joined(cluster.Worker(m.From))
		}
	case leave:
		s.remove(m.From)
		s.receiver.Left(cluster.Worker(m.From))
	case say:
		return s.receiver.Receive(cluster.Worker(m.From), message)
	}
	return nil
}

// space is a namespace, as the cluster.Bus of its adapter.
type space struct {
	hub      *Hub
	name     string
	receiver Receiver

	mu     sync.Mutex // guards changes of what follows
	others atomic.Pointer[[]cluster.Worker]
}

func (s *space) message(what byte, body []byte) []byte {
	b := make([]byte, 0, 1+binary.MaxVarintLen64+len(s.name)+len(body))
	b = append(b, what)
	b = binary.AppendUvarint(b, uint64(len(s.name)))
	b = append(b, s.name...)
	return append(b, body...)
}

// Others implements cluster.Bus.
func (s *space) Others() []cluster.Worker {
	if list := s.others.Load(); list != nil {
		return *list
	}
	return nil
}

// Settle implements cluster.Settler. None is late: siblings are known by what they say.
func (s *space) Settle(ctx context.Context, _ bool) { s.hub.settle(ctx) }

// add is false for one that is there already.
func (s *space) add(t siblings.Tag) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.Others()
	if slices.Contains(list, cluster.Worker(t)) {
		return false
	}
	list = append(slices.Clone(list), cluster.Worker(t))
	s.others.Store(&list)
	return true
}

func (s *space) remove(t siblings.Tag) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(s.Others()), func(w cluster.Worker) bool { return w == cluster.Worker(t) })
	s.others.Store(&list)
}

// Broadcast implements cluster.Bus.
func (s *space) Broadcast(message []byte) error {
	_, err := s.hub.siblings.Broadcast(siblings.SocketIO, s.message(say, message))
	return err
}

// Send implements cluster.Bus.
func (s *space) Send(to cluster.Worker, message []byte) error {
	return s.hub.siblings.Send(siblings.Tag(to), siblings.SocketIO, s.message(say, message))
}

// Close implements cluster.Bus.
func (s *space) Close() error {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.spaces[s.name] == s {
		delete(h.spaces, s.name)
		_, _ = h.siblings.Broadcast(siblings.SocketIO, s.message(leave, nil))
	}
	none := []cluster.Worker{}
	s.others.Store(&none)
	return nil
}
