package cluster

import (
	"bytes"
	"sync/atomic"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/ws"
)

// forms is in which forms the workers of a namespace send to their clients, as bits. A
// worker tells the others when it has the first client of a form, and takes nothing back:
// who emits may encode in vain what nobody wants any more, and who gets an event without
// the form that it needs encodes it itself.
type forms struct {
	own    atomic.Uint32
	others atomic.Uint32
}

// Add implements adapter.Adapter.
func (a *Adapter) Add(s adapter.Socket) {
	if former, ok := s.(adapter.Former); ok && a.History() == nil {
		f, ok := former.Form()
		if bit := uint32(1) << f; ok && a.forms.own.Load()&bit == 0 && a.forms.own.Or(bit)&bit == 0 {
			_ = a.bus.Broadcast(a.wants()) // who does not hear of it does without
		}
	}
	a.Memory.Add(s)
}

func (a *Adapter) wants() []byte {
	w := newWriter(opForms, 0)
	w.number(uint64(a.forms.own.Load()))
	return w.b
}

// encoded is an event in a form; without frames it is as in adapter.WireForm.
type encoded struct {
	form   adapter.Form
	frames []byte
}

// largest is about how many bytes an event may have in all its forms. Of what would have
// more only adapter.WireForm goes, or as many as fit: a broker bounds its messages, NATS by
// 1 MB.
const largest = 256 << 10

// encode returns p in adapter.WireForm and the other forms that other workers want; nothing
// where they want none.
func (a *Adapter) encode(p *adapter.Packet) (all []encoded, size int) {
	e, ok := a.handler.(adapter.Encoder)
	wanted := a.forms.others.Load()
	if !ok || wanted == 0 {
		return nil, 0
	}
	for f := range adapter.Form(adapter.MaxForms) {
		if f != adapter.WireForm && wanted&(1<<f) == 0 || len(all) > 0 && size+len(all[0].frames) > largest {
			continue
		}
		w := e.Encode(p, f)
		switch {
		case w == nil && f == adapter.WireForm:
			return nil, 0
		case w == nil:
			continue
		}
		one := encoded{f, w.Wire()}
		if len(all) > 0 && bytes.Equal(one.frames, all[0].frames) {
			one.frames = nil // it goes once
		}
		all, size = append(all, one), size+len(one.frames)+8
	}
	return all, size
}

func (w *writer) forms(all []encoded) {
	w.number(uint64(len(all)))
	for _, e := range all {
		w.number(uint64(e.form))
		w.bytes(e.frames)
	}
}

// encodedEvent reads an event that comes encoded, with so many bytes of data.
func (a *Adapter) encodedEvent(r *reader, size uint64) *adapter.Packet {
	p := a.packet(nil, nil)
	var wire *ws.Prepared
	for n := r.count(); n > 0 && !r.bad; n-- {
		f, frames := adapter.Form(r.number()), r.bytes()
		w := wire
		if len(frames) > 0 {
			w, _ = ws.ParsePrepared(frames)
		}
		if f == adapter.WireForm {
			wire = w
		}
		if r.bad = r.bad || w == nil || f >= adapter.MaxForms; !r.bad {
			p.Ship(f, w)
		}
	}
	if r.bad || wire == nil || size > uint64(len(wire.Messages()[0].Data)) {
		r.bad = true
		return p
	}
	first := wire.Messages()[0].Data
	p.Data = first[uint64(len(first))-size:]
	for _, m := range wire.Messages()[1:] {
		p.Attachments = append(p.Attachments, m.Data)
	}
	return p
}
