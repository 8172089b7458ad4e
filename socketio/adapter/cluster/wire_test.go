package cluster

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/chaussette/chaussette/socketio/adapter"
)

func TestWire(t *testing.T) {
	w := newWriter(opBroadcast, 0)
	w.number(1 << 62)
	w.opts(adapter.Opts{Rooms: []adapter.Room{"a", ""}, Except: nil})
	w.bytes([]byte("data"))
	w.list([][]byte{{1}, nil})
	r := &reader{b: w.b[1:]}
	n, o, data, list := r.number(), r.opts(), r.bytes(), r.list()
	if n != 1<<62 || !slices.Equal(o.Rooms, []adapter.Room{"a", ""}) || o.Except != nil || string(data) != "data" ||
		len(list) != 2 || !bytes.Equal(list[0], []byte{1}) || len(list[1]) != 0 || r.err() != nil {
		t.Error(n, o, data, list, r.err())
	}
	for i := range w.b {
		if i == 0 {
			continue
		}
		r := &reader{b: w.b[1:i]}
		_, _, _, _ = r.number(), r.opts(), r.bytes(), r.list()
		if r.err() == nil {
			t.Errorf("%d bytes of %d are a message", i, len(w.b))
		}
	}
}

// nowhere is a Bus without others.
type nowhere struct{}

func (nowhere) Others() []Worker          { return nil }
func (nowhere) Broadcast([]byte) error    { return nil }
func (nowhere) Send(Worker, []byte) error { return nil }
func (nowhere) Close() error              { return nil }

type deaf struct{ adapter.Handler }

// Whatever another worker sends, it is an error or is handled.
func FuzzReceive(f *testing.F) {
	for what := opBroadcast; what <= opEnd; what++ {
		w := newWriter(what, 0)
		w.number(1)
		f.Add(w.b)
		w.opts(adapter.Opts{Rooms: []adapter.Room{"a"}})
		w.bytes([]byte(`["x"]`))
		w.list(nil)
		f.Add(w.b)
		f.Add(append([]byte{byte(what)}, "\x05aaaaa\x01\x05bbbbb\x07"...))
		f.Add(append(w.b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1))
	}
	w := newWriter(opBroadcast, 0)
	w.number(flagEncoded)
	w.opts(adapter.Opts{})
	w.number(5)
	w.forms([]encoded{{0, []byte("\x81\x07" + `42["x"]`)}, {1, nil}, {2, []byte("\x91\x01x")}})
	f.Add(w.b)
	f.Fuzz(func(t *testing.T, message []byte) {
		a := New("/", adapter.NewRecovering(adapter.Recovery{}), nowhere{}, deaf{})
		if len(message) > 0 && op(message[0]) == opServerSide {
			return // the handler's
		}
		if err := a.Receive("b", message); err != nil && !errors.Is(err, errMessage) {
			t.Error(err)
		}
	})
}
