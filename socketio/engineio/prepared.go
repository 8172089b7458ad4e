package engineio

import (
	"sync/atomic"

	"github.com/chaussette/chaussette/ws"
)

// Prepared is messages that go to many Sessions one after another, encoded once for each
// way to carry them. It may be used by any number of goroutines.
type Prepared struct {
	messages []Message
	encoded  [4]atomic.Pointer[ws.Prepared] // by class
	streamed atomic.Pointer[[]byte]         // for WebTransport
}

// Prepare returns messages for SendPrepared. They must not be changed any more.
func Prepare(messages ...Message) *Prepared { return &Prepared{messages: messages} }

// Messages are what p was made of.
func (p *Prepared) Messages() []Message { return p.messages }

// Frames returns p as it goes to clients of a revision on WebSocket.
func (p *Prepared) Frames(r Revision) *ws.Prepared { return p.frames(r, false) }

// FromFrames returns the Prepared whose Frames for a revision, maybe on another worker, are
// f; nil if they cannot be.
func FromFrames(f *ws.Prepared, r Revision) *Prepared {
	p := &Prepared{messages: make([]Message, len(f.Messages()))}
	for i, m := range f.Messages() {
		data, binary := m.Data, m.Type == ws.Binary
		if _, prefix := framing(binary, r, false); prefix >= 0 {
			if len(data) == 0 || data[0] != byte(prefix) {
				return nil
			}
			data = data[1:]
		}
		p.messages[i] = Message{data, binary, m.Uncompressed}
	}
	p.encoded[class(r, false)].Store(f)
	return p
}

// class is the index of a revision's frames; some clients of revision 3 get theirs bare.
func class(r Revision, bare bool) int {
	switch {
	case r == Revision3 && !bare:
		return 1
	case r == Revision3:
		return 2
	case r == Revision09:
		return 3
	}
	return 0
}

// frames returns p as WebSocket frames. Two goroutines may both encode them at first.
func (p *Prepared) frames(r Revision, bare bool) *ws.Prepared {
	class := class(r, bare)
	if f := p.encoded[class].Load(); f != nil {
		return f
	}
	f := frames(p.messages, r, bare)
	p.encoded[class].Store(f)
	return f
}

// packets returns p as it goes on a stream.
func (p *Prepared) packets() []byte {
	if b := p.streamed.Load(); b != nil {
		return *b
	}
	b := appendMessages(nil, p.messages)
	p.streamed.Store(&b)
	return b
}

func frames(messages []Message, r Revision, bare bool) *ws.Prepared {
	list := make([]ws.Message, len(messages))
	for i, m := range messages {
		typ, prefix := framing(m.Binary, r, bare)
		data := m.Data
		if prefix >= 0 {
			data = append([]byte{byte(prefix)}, data...)
		}
		list[i] = ws.Message{Type: typ, Data: data, Uncompressed: m.Uncompressed}
	}
	return ws.Prepare(list...)
}

// framing says how a message goes on WebSocket, and which byte before it; -1 for none.
func framing(binary bool, r Revision, bare bool) (typ ws.MessageType, prefix int) {
	switch {
	case binary && r == Revision3 && !bare:
		return ws.Binary, int(PacketMessage - '0')
	case binary:
		return ws.Binary, -1
	case r == Revision09:
		return ws.Text, -1
	}
	return ws.Text, int(PacketMessage)
}
