package adapter_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/adaptertest"
	"github.com/chaussette/chaussette/socketio/parser"
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

func packet() *adapter.Packet {
	return &adapter.Packet{Packet: parser.Packet{Type: parser.Event, Namespace: "/", Data: []byte(`["x"]`)}}
}

// What is kept for those who are away is bounded, and gets old.
func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := adapter.NewRecovering(adapter.Recovery{MaxDisconnection: time.Minute, MaxPackets: 10, MaxSessions: 2})
		restore := func(pid string, offset uint64) (missed int, ok bool) {
			ok, err := a.Restore(t.Context(), pid, strconv.FormatUint(offset, 36), func(s adapter.SavedSession) adapter.Socket {
				missed = len(s.Missed)
				return &adaptertest.Socket{}
			})
			if err != nil {
				t.Error(err)
			}
			return missed, ok
		}
		for range 20 {
			if err := a.Broadcast(packet(), adapter.Opts{}); err != nil {
				t.Fatal(err)
			}
		}
		for _, pid := range []string{"a", "b", "c"} {
			a.Save(adapter.SavedSession{PID: pid, ID: adapter.SocketID(pid)})
		}
		if _, ok := restore("a", 15); ok {
			t.Error("the oldest of three was kept")
		}
		if _, ok := restore("b", 5); ok {
			t.Error("restored from an offset that is not there any more")
		}
		if missed, ok := restore("b", 15); !ok || missed != 5 {
			t.Errorf("%t, %d missed of 5", ok, missed)
		}
		if _, ok := restore("b", 15); ok {
			t.Error("restored twice")
		}
		time.Sleep(2 * time.Minute)
		if _, ok := restore("c", 20); ok {
			t.Error("restored after too long")
		}
	})
}
