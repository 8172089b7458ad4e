package adapter_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/adaptertest"
	"github.com/chaussette/chaussette/socketio/parser"
)

func packet(data string) *adapter.Packet {
	return &adapter.Packet{Packet: parser.Packet{Type: parser.Event, Namespace: "/", Data: []byte(data)}}
}

func TestRecoveryOfOneWorker(t *testing.T) {
	adaptertest.RunRecovery(t, 20*time.Second, 1, func(*testing.T) *adaptertest.Recovering {
		return &adaptertest.Recovering{Adapter: adapter.NewRecovering(adapter.Recovery{})}
	})
}

// returner is a socket whose client may come back.
type returner struct {
	adaptertest.Socket
	pid     string
	id      adapter.SocketID
	offsets []string
}

func (r *returner) PID() string          { return r.pid }
func (r *returner) ID() adapter.SocketID { return r.id }
func (r *returner) Moved()               {}

func (r *returner) Deliver(p *adapter.Packet, _ adapter.Flags) bool {
	args := parser.Elements(p.Data)
	var offset string
	_ = json.Unmarshal(args[len(args)-1], &offset)
	r.offsets = append(r.offsets, offset)
	return true
}

// What is kept for those who are away is bounded, and gets old.
func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := adapter.NewRecovering(adapter.Recovery{MaxDisconnection: time.Minute, MaxPackets: 10, MaxSessions: 2})
		clients := map[string]*returner{}
		for _, pid := range []string{"a", "b", "c"} {
			clients[pid] = &returner{pid: pid, id: adapter.SocketID(pid)}
			a.Add(clients[pid])
		}
		restore := func(pid string, received int) (missed int, ok bool) {
			ok, err := a.Restore(t.Context(), pid, clients[pid].offsets[received-1], func(s adapter.SavedSession) adapter.Socket {
				missed = len(s.Missed)
				return &returner{pid: s.PID, id: s.ID}
			})
			if err != nil {
				t.Error(err)
			}
			return missed, ok
		}
		save := func(pid string) {
			a.Remove(clients[pid])
			a.Save(adapter.SavedSession{PID: pid, ID: adapter.SocketID(pid)})
		}
		for range 20 {
			if err := a.Broadcast(packet(`["x"]`), adapter.Opts{}); err != nil {
				t.Fatal(err)
			}
		}
		for pid := range clients {
			if n := len(clients[pid].offsets); n != 20 {
				t.Fatalf("%d events", n)
			}
		}
		for _, pid := range []string{"a", "b", "c"} {
			save(pid)
		}
		if _, ok := restore("a", 15); ok {
			t.Error("the oldest of three was kept")
		}
		if _, ok := restore("b", 9); ok {
			t.Error("restored though some of what it missed is not kept any more")
		}
		if _, ok := restore("b", 15); ok {
			t.Error("restored twice")
		}
		if missed, ok := restore("c", 15); !ok || missed != 5 {
			t.Errorf("%t, %d missed of 5", ok, missed)
		}

		// Who has got all that was for it needs none of what is not kept any more.
		quiet := &returner{pid: "q", id: "q"}
		clients["q"] = quiet
		a.Add(quiet)
		_ = a.Broadcast(packet(`["x"]`), adapter.Opts{Rooms: []adapter.Room{"q"}})
		for range 100 {
			_ = a.Broadcast(packet(`["x"]`), adapter.Opts{Rooms: []adapter.Room{"elsewhere"}})
		}
		save("q")
		_ = a.Broadcast(packet(`["x"]`), adapter.Opts{Rooms: []adapter.Room{"q"}})
		if missed, ok := restore("q", 1); !ok || missed != 1 {
			t.Errorf("%t, %d missed of 1", ok, missed)
		}

		late := &returner{pid: "l", id: "l"}
		clients["l"] = late
		a.Add(late)
		_ = a.Broadcast(packet(`["x"]`), adapter.Opts{})
		save("l")
		time.Sleep(2 * time.Minute)
		if _, ok := restore("l", 1); ok {
			t.Error("restored after too long")
		}
	})
}

// A client may lose its connection again before it has got what it had missed, or all of that:
// what it has not got is not said to be there. It has been with this worker all the time, so
// that is true of what the worker keeps for itself as well.
func TestLostTwice(t *testing.T) {
	for received, want := range []int{4, 3, 2, 1} {
		t.Run(fmt.Sprint(received, " received"), func(t *testing.T) {
			a := adapter.NewRecovering(adapter.Recovery{})
			h, now := a.History(), time.Now().Add(time.Second).UnixNano()
			first := &returner{pid: "p", id: "s"}
			a.Add(first)
			leave := func(s *returner) {
				a.Remove(s)
				a.Save(adapter.SavedSession{PID: "p", ID: "s"})
			}
			restore := func(offset string) (*returner, int) {
				s := &returner{pid: "p", id: "s"}
				ok, err := a.Restore(t.Context(), "p", offset, func(saved adapter.SavedSession) adapter.Socket {
					for _, p := range saved.Missed {
						s.Deliver(p, adapter.Flags{})
					}
					return s
				})
				if !ok || err != nil {
					t.Fatal(ok, err)
				}
				return s, len(s.offsets)
			}
			emit := func() {
				if err := a.Broadcast(packet(`["x"]`), adapter.Opts{}); err != nil {
					t.Fatal(err)
				}
			}
			// By another worker, two by this one, and by the other again.
			other := func(seq uint64, at int64) {
				if !h.Take(&adapter.Entry{Origin: "other", Seq: seq, At: at, Namespace: "/", Data: []byte("[]")}) {
					t.Fatal("not taken")
				}
			}
			other(1, now-int64(time.Minute))
			emit()
			emit()
			other(2, now+int64(time.Minute))
			leave(first)
			second, missed := restore("")
			if missed != 4 {
				t.Fatalf("%d events are sent again, of 4", missed)
			}
			leave(second)
			if _, missed := restore(append([]string{""}, second.offsets...)[received]); missed != want {
				t.Errorf("%d events are sent again, want %d", missed, want)
			}
		})
	}
}

// An event that a worker has kept for a client does not overtake one that it had sent to all
// before, whatever way they take to the worker that the client comes back to.
func TestNoEventOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		leave := func(m *adapter.Memory) *adapter.Session {
			t.Helper()
			s := m.Local("s")
			m.Remove(s)
			m.Save(adapter.SavedSession{PID: "p", ID: "s"})
			saved := m.History().WithdrawWithin(t.Context(), "p")
			m.History().Pack(saved)
			return saved
		}
		restore := func(m *adapter.Memory, s *adapter.Session) (bool, error) {
			return m.History().Restore(t.Context(), s, "", func(saved adapter.SavedSession) adapter.Socket {
				names = nil
				for _, p := range saved.Missed {
					names = append(names, string(parser.Elements(p.Data)[0]))
				}
				return &returner{pid: "p", id: "s"}
			})
		}
		var workers [3]*adapter.Memory
		for i := range workers {
			workers[i] = adapter.NewRecovering(adapter.Recovery{})
		}
		a, b, c := workers[0], workers[1], workers[2]
		a.Add(&returner{pid: "p", id: "s"})
		var shared *adapter.Entry
		for _, private := range []bool{false, true} {
			p := packet(fmt.Sprintf(`["private %t"]`, private))
			if err := a.History().Emit(p, adapter.Opts{}, func() bool { return private }, func(e *adapter.Entry) error { shared = e; return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if !b.History().Take(shared) {
			t.Fatal("not taken")
		}
		// It gets nothing of what it is sent, neither here nor there.
		want := []string{`"private false"`, `"private true"`}
		if ok, err := restore(b, leave(a)); !ok || err != nil || !slices.Equal(names, want) {
			t.Fatal(ok, err, names)
		}
		second := leave(b)
		done := make(chan error)
		go func() {
			_, err := restore(c, second)
			done <- err
		}()
		synctest.Wait() // it waits, or is done without what has not come
		if !c.History().Take(shared) {
			t.Fatal("not taken")
		}
		if err := <-done; err != nil || !slices.Equal(names, want) {
			t.Error(err, names)
		}
	})
}

// Bytes are bounded as well.
func TestHistoryOfLargeEvents(t *testing.T) {
	a := adapter.NewRecovering(adapter.Recovery{MaxBytes: 10_000})
	h := a.History()
	for range 50 {
		p := packet(`["x"]`)
		p.Attachments = [][]byte{make([]byte, 1000)}
		if err := h.Emit(p, adapter.Opts{}, func() bool { return false }, func(*adapter.Entry) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if floor, entries := h.After(h.Self(), 0); len(entries) > 10 || len(entries) < 5 || floor != 50-uint64(len(entries)) {
		t.Errorf("%d are kept, after %d", len(entries), floor)
	}
}

// Events of another worker are taken in their order, once, whatever way they come.
func TestHistoryTakes(t *testing.T) {
	a := adapter.NewRecovering(adapter.Recovery{})
	h := a.History()
	s := &returner{pid: "p", id: "s"}
	a.Add(s)
	entry := func(seq uint64, at int64) *adapter.Entry {
		return &adapter.Entry{Origin: "other", Seq: seq, At: at, Namespace: "/", Data: fmt.Appendf(nil, "[%d]", seq)}
	}
	now := time.Now().Add(time.Second).UnixNano()
	if !h.Take(entry(1, now)) || h.Take(entry(3, now+2)) || !h.Take(entry(1, now)) || len(s.offsets) != 1 {
		t.Errorf("got %q", s.offsets)
	}
	h.Fill("other", 0, []*adapter.Entry{entry(1, now), entry(2, now+1), entry(3, now+2)})
	if !h.Take(entry(3, now+2)) || !h.Take(entry(4, now+3)) || len(s.offsets) != 4 {
		t.Errorf("got %q", s.offsets)
	}
	// What was sent before it came is not for it.
	h.Fill("third", 7, []*adapter.Entry{{Origin: "third", Seq: 8, At: 1, Data: []byte("[]")}})
	if h.Have("third") != 8 || len(s.offsets) != 4 {
		t.Errorf("%d; got %q", h.Have("third"), s.offsets)
	}
}

func TestVector(t *testing.T) {
	for text, want := range map[string]adapter.Vector{
		"":                    {},
		"kX3d91z4-2.Pq0aB7":   {"kX3d9": 2560, "kX3d9-": 2, "Pq0aB": 7},
		"kX3d9-2":             {"kX3d9-": 2},
		"kX3d90-0":            {"kX3d9": 0, "kX3d9-": 0},
		"short":               nil,
		"kX3d9":               nil,
		"kX3d9!":              nil,
		"kX 3d9":              nil,
		"kX3d91..kX3d91":      nil,
		"kX3d91-":             nil,
		"kX3d9zzzzzzzzzzzzzz": nil,
	} {
		got, ok := adapter.ParseVector(text)
		if ok != (want != nil) || ok && !equal(got, want) {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
		if again, _ := adapter.ParseVector(want.String()); ok && !equal(again, want) {
			t.Errorf("%v is %q, and that is %v", want, want, again)
		}
	}
}

func equal(a, b adapter.Vector) bool {
	return len(a) == len(b) && !slices.ContainsFunc(keys(a), func(o adapter.Origin) bool { n, ok := b[o]; return !ok || n != a[o] })
}

func keys(v adapter.Vector) (all []adapter.Origin) {
	for o := range v {
		all = append(all, o)
	}
	return all
}

func FuzzVector(f *testing.F) {
	f.Add("kX3d91z4-2.Pq0aB7")
	f.Add("kX3d9-2.kX3d90")
	f.Fuzz(func(t *testing.T, text string) {
		v, ok := adapter.ParseVector(text)
		if !ok {
			return
		}
		if again, ok := adapter.ParseVector(v.String()); !ok || !equal(again, v) {
			t.Errorf("%q is %v, and then %v", text, v, again)
		}
	})
}
