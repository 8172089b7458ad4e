package siblings_test

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/chaussette/chaussette/listener/siblings"
	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/adaptertest"
	adaptersiblings "github.com/chaussette/chaussette/socketio/adapter/siblings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func cluster(t *testing.T, hubs []*adaptersiblings.Hub, namespace string) *adaptertest.Cluster {
	t.Helper()
	var factories []adapter.Factory
	for _, hub := range hubs {
		factories = append(factories, hub.Factory)
	}
	return adaptertest.Join(t, namespace, factories...)
}

func TestSuite(t *testing.T) {
	adaptertest.Run(t, adaptertest.Patience/2, func(t *testing.T) *adaptertest.Cluster { return cluster(t, adaptertest.Hubs(t, 3), "/") })
}

// Namespaces do not hear one another, and one that not all workers have is shared by
// those that do.
func TestNamespaces(t *testing.T) {
	hubs := adaptertest.Hubs(t, 3)
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
	adaptertest.Workers(t, two.Adapters[0], 1)
}

// Clients that come back to whatever worker, while workers are replaced, have every event
// once.
func TestRecovery(t *testing.T) {
	bases := map[string]string{} // of each seed
	adaptertest.RunRecovery(t, adaptertest.Patience, 3, func(t *testing.T) *adaptertest.Recovering {
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
