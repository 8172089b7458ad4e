package adaptertest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chaussette/chaussette/listener/siblings"
	"github.com/chaussette/chaussette/socketio/adapter"
	adaptersiblings "github.com/chaussette/chaussette/socketio/adapter/siblings"
	"github.com/chaussette/chaussette/socketio/parser"
)

// Patience is how long something may take on a slow machine.
const Patience = 20 * time.Second

// Eventually waits until f is true, for Patience.
func Eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in %v: %s", Patience, what)
		}
	}
}

// Workers waits until a knows of n workers, itself among them.
func Workers(t testing.TB, a adapter.Adapter, n int) {
	t.Helper()
	var got int
	var err error
	for end := time.Now().Add(Patience); ; time.Sleep(time.Millisecond) {
		if got, err = a.Workers(t.Context()); got == n && err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d workers, %v, want %d", got, err, n)
		}
	}
}

// Hubs are those of n workers on one socket, which know one another.
func Hubs(t testing.TB, n int) []*adaptersiblings.Hub {
	t.Helper()
	base := t.TempDir()
	hubs := make([]*adaptersiblings.Hub, n)
	for i := range hubs {
		s, err := siblings.Open(&siblings.Options{Key: "test", Base: base})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		hubs[i] = adaptersiblings.NewHub(s, nil)
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
	}
	return hubs
}

// Join makes a namespace on workers, by the Factory of each, and returns when each knows of
// all.
func Join(t testing.TB, namespace string, workers ...adapter.Factory) *Cluster {
	t.Helper()
	c := &Cluster{}
	for i, factory := range workers {
		h := &Handler{Name: fmt.Sprint("worker ", i)}
		a, err := factory(namespace, h)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = a.Close() })
		c.Adapters, c.Handlers = append(c.Adapters, a), append(c.Handlers, h)
	}
	for _, a := range c.Adapters {
		Workers(t, a, len(workers))
	}
	return c
}

// Connection is a worker's to a broker: a *redis.Broker, a *nats.Broker.
type Connection interface {
	Factory(namespace string, h adapter.Handler) (adapter.Adapter, error)
	// Ready waits until what others send reaches this worker, or ctx ends.
	Ready(ctx context.Context) error
}

// JoinBy is Join on connections that are all ready.
func JoinBy[C Connection](t testing.TB, namespace string, all ...C) *Cluster {
	t.Helper()
	var factories []adapter.Factory
	for _, c := range all {
		factories = append(factories, c.Factory)
	}
	joined := Join(t, namespace, factories...)
	Ready(t, all...)
	return joined
}

// Ready waits until each of the connections is.
func Ready[C Connection](t testing.TB, all ...C) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	for _, c := range all {
		if err := c.Ready(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// Event is an event of this name, without arguments.
func Event(name string) *adapter.Packet {
	return &adapter.Packet{Packet: parser.Packet{Type: parser.Event, Namespace: "/", Data: []byte(`["` + name + `"]`)}}
}

// Emit emits an Event to all.
func Emit(t testing.TB, a adapter.Adapter, name string) {
	t.Helper()
	if err := a.Broadcast(Event(name), adapter.Opts{}); err != nil {
		t.Error(err)
	}
}

// Got tells whether s has got an Event of this name.
func (s *Socket) Got(name string) bool { return slices.Contains(s.Events(), `["`+name+`"]`) }
