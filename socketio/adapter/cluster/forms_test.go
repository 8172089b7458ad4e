package cluster

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/ws"
)

// line is the Bus between the workers of a test, which are there from the beginning.
type line struct {
	self Worker
	all  map[Worker]*Adapter
	sent []string // by this one
}

func (l *line) Others() []Worker {
	var others []Worker
	for w := range l.all {
		if w != l.self {
			others = append(others, w)
		}
	}
	return others
}

func (l *line) Broadcast(message []byte) error {
	l.sent = append(l.sent, string(message))
	for _, w := range l.Others() {
		if err := l.all[w].Receive(l.self, slices.Clone(message)); err != nil {
			return err
		}
	}
	return nil
}

func (l *line) Send(to Worker, message []byte) error {
	l.sent = append(l.sent, string(message))
	return l.all[to].Receive(l.self, slices.Clone(message))
}

func (l *line) Close() error { return nil }

// counting is a Handler that encodes: form n is the event n bytes off, in a text.
type counting struct {
	adapter.Handler
	encoded []adapter.Form
}

func (c *counting) Encode(p *adapter.Packet, f adapter.Form) *ws.Prepared {
	c.encoded = append(c.encoded, f)
	if f == 7 {
		return nil
	}
	if f == 6 { // as it is over the wire
		f = adapter.WireForm
	}
	messages := []ws.Message{{Type: ws.Text, Data: fmt.Appendf(nil, "%*s%s", int(f), "", p.Data), Uncompressed: p.Uncompressed}}
	for _, a := range p.Attachments {
		messages = append(messages, ws.Message{Type: ws.Binary, Data: a, Uncompressed: p.Uncompressed})
	}
	return ws.Prepare(messages...)
}

// former is a Socket of a form.
type former struct {
	adapter.Socket
	id         adapter.SocketID
	form       adapter.Form
	membership adapter.Membership
	got        []*adapter.Packet
}

func (s *former) ID() adapter.SocketID            { return s.id }
func (s *former) Membership() *adapter.Membership { return &s.membership }
func (s *former) Form() (adapter.Form, bool)      { return s.form, s.form < adapter.MaxForms }
func (s *former) Delivered(*adapter.Packet)       {}
func (s *former) Deliver(p *adapter.Packet, _ adapter.Flags) bool {
	s.got = append(s.got, p)
	return true
}

func workers(n int, memory func() *adapter.Memory) (all []*Adapter, lines []*line, handlers []*counting) {
	known := map[Worker]*Adapter{}
	for i := range n {
		l, h := &line{self: Worker(fmt.Sprint(i)), all: known}, &counting{}
		a := New("/", memory(), l, h)
		known[l.self] = a
		all, lines, handlers = append(all, a), append(lines, l), append(handlers, h)
	}
	return all, lines, handlers
}

func emit(t *testing.T, a *Adapter, uncompressed bool, attachments ...[]byte) {
	t.Helper()
	p := a.packet(json.RawMessage(`["x"]`), attachments)
	p.Uncompressed = uncompressed
	if err := a.Broadcast(p, adapter.Opts{}); err != nil {
		t.Fatal(err)
	}
}

// Who emits encodes once in each form that others' clients need, and they deliver that.
func TestForms(t *testing.T) {
	all, lines, handlers := workers(3, adapter.NewMemory)
	emit(t, all[0], false)
	if len(handlers[0].encoded) != 0 {
		t.Errorf("encoded for nobody: %v", handlers[0].encoded)
	}
	odd, _, own := workers(2, adapter.NewMemory)
	only := &former{id: "only", form: 2}
	odd[1].Add(only)
	emit(t, odd[0], false)
	if p := only.got[0]; !slices.Equal(own[0].encoded, []adapter.Form{0, 2}) || p.Shipped(2) == nil || string(p.Data) != `["x"]` {
		t.Errorf("encoded %v for a client of form 2", own[0].encoded)
	}
	sockets := []*former{{form: 0}, {form: 1}, {form: 6}, {form: 7}, {form: adapter.MaxForms}}
	for i, s := range sockets {
		s.id = adapter.SocketID(fmt.Sprint("socket", i))
		all[1].Add(s)
	}
	told := len(lines[1].sent)
	second := &former{id: "second", form: 1}
	all[1].Add(second)
	if told != 4 || len(lines[1].sent) != told {
		t.Errorf("told %d times, and %d with another client of the same form", told, len(lines[1].sent))
	}
	far := &former{id: "far", form: 1}
	all[2].Add(far)

	emit(t, all[0], true, []byte("blob"), nil)
	if want := []adapter.Form{0, 1, 6, 7}; !slices.Equal(handlers[0].encoded, want) {
		t.Errorf("encoded %v, want %v", handlers[0].encoded, want)
	}
	if len(handlers[1].encoded)+len(handlers[2].encoded) != 0 {
		t.Error("encoded by who gets it")
	}
	for _, s := range append(sockets, second, far) {
		p := s.got[0]
		if string(p.Data) != `["x"]` || len(p.Attachments) != 2 || string(p.Attachments[0]) != "blob" || len(p.Attachments[1]) != 0 || !p.Uncompressed {
			t.Errorf("%s got %q with %q", s.id, p.Data, p.Attachments)
		}
		for f, want := range map[adapter.Form]string{0: `["x"]`, 1: ` ["x"]`, 6: `["x"]`, 7: "", 5: ""} {
			w := p.Shipped(f)
			switch {
			case w == nil && want == "":
			case w == nil || len(w.Messages()) != 3 || string(w.Messages()[0].Data) != want || !w.Messages()[2].Uncompressed:
				t.Errorf("%s got %v in form %d", s.id, w, f)
			}
		}
	}
	if p := far.got[0]; p.Shipped(6) != p.Shipped(adapter.WireForm) {
		t.Error("what is the same went twice")
	}

	// One that joins later is told.
	other := New("/", adapter.NewMemory(), lines[0], handlers[0])
	handlers[0].encoded = nil
	emit(t, other, false)
	lines[0].all["0"] = other
	all[1].Joined("0")
	emit(t, other, false)
	if want := []adapter.Form{0, 1, 6, 7}; !slices.Equal(handlers[0].encoded, want) {
		t.Errorf("encoded %v, want %v", handlers[0].encoded, want)
	}
}

// What is large goes in one form.
func TestFormsOfWhatIsLarge(t *testing.T) {
	for size, want := range map[int]int{80 << 10: 3, 100 << 10: 2, 200 << 10: 1, 1 << 20: 1} {
		all, lines, _ := workers(2, adapter.NewMemory)
		s := &former{id: "s"}
		all[1].Add(s)
		all[1].Add(&former{id: "t", form: 1})
		all[1].Add(&former{id: "u", form: 2})
		emit(t, all[0], false, make([]byte, size))
		if got := len(lines[0].sent[0]) / size; got != want {
			t.Errorf("an event of %d bytes goes in %d forms, want %d", size, got, want)
		}
		if len(s.got) != 1 || len(s.got[0].Attachments[0]) != size {
			t.Errorf("an event of %d bytes has not come", size)
		}
	}
}

// With recovery each worker adds its own offset, so that nothing is encoded for others.
func TestFormsWithRecovery(t *testing.T) {
	all, lines, handlers := workers(2, func() *adapter.Memory { return adapter.NewRecovering(adapter.Recovery{}) })
	s := &former{id: "s"}
	all[1].Add(s)
	all[1].Joined("0")
	if err := all[0].Broadcast(all[0].packet(json.RawMessage(`["x"]`), nil), adapter.Opts{Flags: adapter.Flags{Volatile: true}}); err != nil {
		t.Fatal(err)
	}
	if len(handlers[0].encoded) != 0 || len(lines[1].sent) != 1 || op(lines[1].sent[0][0]) != opSync {
		t.Errorf("encoded %v, told %q", handlers[0].encoded, lines[1].sent)
	}
	// One without recovery may encode for it all the same.
	other, _, _ := workers(1, adapter.NewMemory)
	other[0].forms.others.Store(1)
	if err := all[1].Receive("y", other[0].broadcast(other[0].packet(json.RawMessage(`["y"]`), nil), adapter.Opts{})); err != nil {
		t.Fatal(err)
	}
	if len(s.got) != 2 || s.got[1].Shipped(adapter.WireForm) != nil || string(s.got[1].Data) == `["y"]` {
		t.Errorf("%d packets; without an offset: %v", len(s.got), s.got)
	}
}

// Frames that are none, or too few, are an error.
func TestFormsMalformed(t *testing.T) {
	frames := ws.NewPrepared(ws.Text, []byte("abc")).Wire()
	for name, forms := range map[string][]encoded{
		"none":            {},
		"not the first":   {{1, frames}},
		"empty":           {{0, nil}},
		"half a frame":    {{0, frames[:3]}},
		"half of another": {{0, frames}, {1, frames[:1]}},
		"too short":       {{0, ws.NewPrepared(ws.Text, []byte("ab")).Wire()}},
		"too many":        {{0, frames}, {1, nil}, {2, nil}, {3, nil}, {4, nil}, {5, nil}, {6, nil}, {7, nil}, {8, nil}},
	} {
		w := newWriter(opBroadcast, 0)
		w.number(flagEncoded)
		w.opts(adapter.Opts{})
		w.number(3)
		w.forms(forms)
		a := New("/", adapter.NewMemory(), nowhere{}, deaf{})
		if err := a.Receive("b", w.b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
