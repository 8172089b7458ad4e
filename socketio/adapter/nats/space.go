package nats

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/cluster"
	"github.com/chaussette/chaussette/socketio/adapter/siblings"
)

// space is a namespace, as the cluster.Bus of its adapter: to siblings by their own way,
// to others by NATS.
type space struct {
	broker  *Broker
	token   string
	subject string // of what is for all
	adapter *cluster.Adapter
	near    cluster.Bus // nil without siblings
	subs    []*nats.Subscription

	announced atomic.Int64 // when, in Unix nanoseconds

	mu     sync.Mutex // guards changes of what follows
	others atomic.Pointer[[]cluster.Worker]
}

var _ interface {
	cluster.Bus
	cluster.Settler
} = (*space)(nil)

func (b *Broker) open(namespace string, h adapter.Handler) (adapter.Adapter, error) {
	token := base64.RawURLEncoding.EncodeToString([]byte(namespace))
	s := &space{broker: b, token: token, subject: b.config.prefix + "." + token + ".all"}
	memory := adapter.NewMemory()
	if r := b.options.Recovery; r != nil {
		memory = adapter.NewRecovering(*r)
	}
	s.adapter = cluster.New(namespace, memory, s, h)
	if hub := b.options.Siblings; hub != nil {
		hub.Join(namespace, func(bus cluster.Bus) siblings.Receiver {
			s.near = bus
			return nearby{s}
		})
	}
	b.mu.Lock()
	b.spaces[token] = s
	b.mu.Unlock()
	for _, subject := range []string{s.subject, s.direct(b.name)} {
		sub, err := b.conn.ChanSubscribe(subject, b.incoming)
		if err != nil {
			_ = s.adapter.Close()
			return nil, err
		}
		s.subs = append(s.subs, sub)
	}
	s.announce()
	return s.adapter, nil
}

func (s *space) direct(name string) string {
	return s.broker.config.prefix + "." + s.token + ".to." + name
}

// name is what a worker is called on NATS. Siblings are known by their tag.
func (s *space) name(w cluster.Worker) string {
	if s.broker.group != "" && len(w) == len(s.broker.options.Siblings.Tag()) {
		return s.broker.group + string(w)
	}
	return string(w)
}

// announce tells others of this worker, and has them tell of themselves.
func (s *space) announce() {
	s.announced.Store(time.Now().UnixNano())
	s.broker.presence(s.subject, enter)
}

// telling is how long others take as a rule to say that they are there, and tellingLate how
// long those may take that are busy.
const (
	telling     = 250 * time.Millisecond
	tellingLate = 2 * time.Second
)

// Settle implements cluster.Settler.
func (s *space) Settle(ctx context.Context, late bool) {
	if near, ok := s.near.(cluster.Settler); ok {
		near.Settle(ctx, late)
	}
	most := telling
	if late {
		most = tellingLate
	}
	if wait := most - time.Since(time.Unix(0, s.announced.Load())); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// siblings are those that are reached without NATS.
func (s *space) siblings() []cluster.Worker {
	if s.near == nil {
		return nil
	}
	return s.near.Others()
}

// far are those that NATS knows, with siblings among them.
func (s *space) far() []cluster.Worker {
	if list := s.others.Load(); list != nil {
		return *list
	}
	return nil
}

// Others implements cluster.Bus.
func (s *space) Others() []cluster.Worker {
	near, far := s.siblings(), s.far()
	list := far
	for _, w := range near {
		if !slices.Contains(far, w) {
			list = append(slices.Clip(list), w)
		}
	}
	return list
}

// beyond are the far ones that are not near.
func beyond(far, near []cluster.Worker) []cluster.Worker {
	var list []cluster.Worker
	for _, w := range far {
		if !slices.Contains(near, w) {
			list = append(list, w)
		}
	}
	return list
}

// Broadcast implements cluster.Bus.
func (s *space) Broadcast(body []byte) error {
	near := s.siblings()
	for _, w := range near {
		_ = s.near.Send(w, body) // one that has left needs nothing
	}
	further := beyond(s.far(), near)
	if len(further) == 0 {
		return nil
	}
	sent, err := s.broker.publish(s.subject, &message{what: say, near: near, body: body})
	if !sent {
		s.unreached(further)
	}
	return err
}

// unreached ends what waits for these workers.
func (s *space) unreached(workers []cluster.Worker) {
	for _, w := range workers {
		s.adapter.Left(w)
	}
}

// interrupt is called when NATS is lost.
func (s *space) interrupt() { s.unreached(beyond(s.far(), s.siblings())) }

// Send implements cluster.Bus.
func (s *space) Send(to cluster.Worker, body []byte) error {
	if slices.Contains(s.siblings(), to) {
		return s.near.Send(to, body)
	}
	_, err := s.broker.publish(s.direct(s.name(to)), &message{what: say, body: body})
	return err
}

// Close implements cluster.Bus.
func (s *space) Close() error {
	b := s.broker
	b.mu.Lock()
	if b.spaces[s.token] == s {
		delete(b.spaces, s.token)
	}
	b.mu.Unlock()
	for _, sub := range s.subs {
		_ = sub.Unsubscribe() // it fails only where the connection is closed
	}
	b.presence(s.subject, leave)
	none := []cluster.Worker{}
	s.mu.Lock()
	s.others.Store(&none)
	s.mu.Unlock()
	if s.near != nil {
		return s.near.Close()
	}
	return nil
}

// handle handles a message of another worker.
func (s *space) handle(m *message) error {
	w := s.broker.worker(m.from)
	switch m.what {
	case enter:
		s.add(w)
		// Also one that was known: it may have been away, and know less than this one.
		s.adapter.Joined(w)
		s.broker.presence(s.direct(m.from), here)
	case here:
		s.add(w)
		s.adapter.Joined(w)
	case leave:
		s.remove(w)
	case say:
		if s.has(m) {
			return nil
		}
		return s.adapter.Receive(w, m.body)
	}
	return nil
}

// has tells whether m has come by the siblings' way.
func (s *space) has(m *message) bool {
	h := s.broker.options.Siblings
	return h != nil && strings.HasPrefix(m.from, s.broker.group) && slices.Contains(m.near, h.Tag())
}

func (s *space) add(w cluster.Worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if list := s.far(); !slices.Contains(list, w) {
		list = append(slices.Clip(list), w)
		s.others.Store(&list)
	}
}

// remove takes out a worker that NATS does not know any more.
func (s *space) remove(w cluster.Worker) {
	s.mu.Lock()
	list := slices.DeleteFunc(slices.Clone(s.far()), func(one cluster.Worker) bool { return one == w })
	known := len(list) < len(s.far())
	s.others.Store(&list)
	s.mu.Unlock()
	if known && !slices.Contains(s.siblings(), w) {
		s.adapter.Left(w)
	}
}

// nearby is a space as the siblings' way tells it of what comes.
type nearby struct{ *space }

// Receive implements siblings.Receiver.
func (n nearby) Receive(from cluster.Worker, body []byte) error { return n.adapter.Receive(from, body) }

// Joined implements siblings.Receiver.
func (n nearby) Joined(w cluster.Worker) { n.adapter.Joined(w) }

// Left implements siblings.Receiver. The worker may still be reached by NATS; but what it
// had still to answer went the other way.
func (n nearby) Left(w cluster.Worker) { n.adapter.Left(w) }
