package adapter_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/adaptertest"
)

func TestMemory(t *testing.T) {
	adaptertest.Run(t, 2*time.Second, func(*testing.T) *adaptertest.Cluster {
		return &adaptertest.Cluster{Adapters: []adapter.Adapter{adapter.NewMemory()}, Handlers: []*adaptertest.Handler{{}}}
	})
}

// OnRooms is told of each room once, whatever fills and empties it.
func TestOnRooms(t *testing.T) {
	a := adapter.NewMemory()
	var got []string
	a.OnRooms(func(r adapter.Room, filled bool) { got = append(got, fmt.Sprint(r, filled)) })
	first, second := adaptertest.NewSocket(a, "1"), adaptertest.NewSocket(a, "2")
	a.Add(first)
	a.Join(first, "a", "b", "a")
	a.Add(second)
	a.Join(second, "a")
	a.Leave(first, "b", "a", "c")
	a.Remove(first)
	a.Remove(second)
	if want := []string{"1true", "atrue", "btrue", "2true", "bfalse", "1false", "afalse", "2false"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
