package siblings_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chaussette/chaussette/listener/siblings"
	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/adaptertest"
	adaptersiblings "github.com/chaussette/chaussette/socketio/adapter/siblings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long siblings may take to hear of one another.
const patience = 10 * time.Second

// start starts n workers on one socket.
func start(t *testing.T, n int) []*adaptersiblings.Hub {
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

func cluster(t *testing.T, hubs []*adaptersiblings.Hub, namespace string) *adaptertest.Cluster {
	c := &adaptertest.Cluster{}
	for i, hub := range hubs {
		h := &adaptertest.Handler{Name: fmt.Sprint("worker ", i)}
		a, err := hub.Factory(namespace, h)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = a.Close() })
		c.Adapters, c.Handlers = append(c.Adapters, a), append(c.Handlers, h)
	}
	for _, a := range c.Adapters {
		workers(t, a, len(hubs))
	}
	return c
}

// workers waits until a knows of n workers.
func workers(t *testing.T, a adapter.Adapter, n int) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		got, err := a.Workers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d workers, want %d", got, n)
		}
	}
}

func TestSuite(t *testing.T) {
	adaptertest.Run(t, patience, func(t *testing.T) *adaptertest.Cluster { return cluster(t, start(t, 3), "/") })
}

// Namespaces do not hear one another, and one that not all workers have is shared by
// those that do.
func TestNamespaces(t *testing.T) {
	hubs := start(t, 3)
	all, two := cluster(t, hubs, "/"), cluster(t, hubs[:2], "/two")
	if err := two.Adapters[0].ServerSideEmit([]byte(`["x"]`)); err != nil {
		t.Fatal(err)
	}
	if answers, err := two.Adapters[0].ServerSideEmitAck(t.Context(), []byte(`["y"]`)); len(answers) != 1 || err != nil {
		t.Errorf("%d answers, %v", len(answers), err)
	}
	if answers, err := all.Adapters[2].ServerSideEmitAck(t.Context(), []byte(`["z"]`)); len(answers) != 2 || err != nil {
		t.Errorf("%d answers, %v", len(answers), err)
	}
	if err := two.Adapters[1].Close(); err != nil {
		t.Fatal(err)
	}
	workers(t, two.Adapters[0], 1)
}

// Clients that come back to whatever worker, while workers are replaced, have every event
// once.
func TestRecovery(t *testing.T) {
	bases := map[string]string{} // of each seed
	adaptertest.RunRecovery(t, 2*patience, 3, func(t *testing.T) *adaptertest.Recovering {
		if bases[t.Name()] == "" {
			bases[t.Name()] = t.TempDir()
		}
		return recovering(t, bases[t.Name()])
	})
}

func recovering(t *testing.T, base string) *adaptertest.Recovering {
	s, err := siblings.Open(&siblings.Options{Key: "test", Base: base})
	if err != nil {
		t.Fatal(err)
	}
	a, err := adaptersiblings.NewHub(s, nil).Recovering(adapter.Recovery{})("/", &adaptertest.Handler{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	leave := func() {
		if err := errors.Join(a.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(leave)
	return &adaptertest.Recovering{Adapter: a, Leave: leave}
}
