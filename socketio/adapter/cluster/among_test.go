package cluster

import (
	"testing"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/parser"
)

// telling is a Bus that notes what each worker is sent.
type telling struct {
	others []Worker
	sent   map[Worker][]byte // the kinds of messages
}

func (t *telling) Others() []Worker { return t.others }
func (t *telling) Close() error     { return nil }

func (t *telling) Broadcast(m []byte) error {
	for _, w := range t.others {
		_ = t.Send(w, m)
	}
	return nil
}

func (t *telling) Send(w Worker, m []byte) error {
	t.sent[w] = append(t.sent[w], m[0])
	return nil
}

// A worker that joins while an event is on its way to a group of the others is told that there is
// one more: it might have said before what it has, and there need not be a next event.
func TestJoinedSinceTheGroup(t *testing.T) {
	bus := &telling{others: []Worker{"b"}, sent: map[Worker][]byte{}}
	a := New("/", adapter.NewRecovering(adapter.Recovery{}), bus, deaf{})
	among := a.Among(a.Others())
	bus.others = append(bus.others, "c")
	if err := among.Broadcast(&adapter.Packet{Packet: parser.Packet{Type: parser.Event, Namespace: "/", Data: []byte(`["x"]`)}}, adapter.Opts{}); err != nil {
		t.Fatal(err)
	}
	if got := string(bus.sent["b"]); got != string([]byte{byte(opEvent)}) {
		t.Errorf("b was sent %q", got)
	}
	if got := string(bus.sent["c"]); got != string([]byte{byte(opSync)}) {
		t.Errorf("c was sent %q, want what there is", got)
	}
}
