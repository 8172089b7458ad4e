package socketio

import (
	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/engineio"
	"github.com/chaussette/chaussette/socketio/parser"
	"github.com/chaussette/chaussette/ws"
)

// forms are what events are encoded in for clients, by adapter.Form: that of protocol 5 is
// adapter.WireForm. Parsers of the app's own are not among them.
var forms = []struct {
	parser   parser.Parser
	revision engineio.Revision
}{
	{parser.V5, engineio.Revision4},
	{parser.V4, engineio.Revision3},
	{parser.V09, engineio.Revision09},
	{parser.Msgpack, engineio.Revision4},
}

func formOf(p parser.Parser) (adapter.Form, bool) {
	for i := range forms {
		if forms[i].parser == p {
			return adapter.Form(i), true
		}
	}
	return 0, false
}

// Form implements adapter.Former.
func (s *Socket) Form() (adapter.Form, bool) { return formOf(s.client.parser) }

// Encode implements adapter.Encoder. What it encodes is there for sockets of this worker.
func (n *serverSide) Encode(p *adapter.Packet, f adapter.Form) *ws.Prepared {
	if int(f) >= len(forms) {
		return nil // of a sibling that knows more
	}
	prepared := (*Namespace)(n).prepared(p, forms[f].parser)
	if prepared == nil {
		return nil
	}
	return prepared.Frames(forms[f].revision)
}

// prepared is p for clients that speak this, or nil if it cannot be encoded so. It is what
// another worker has encoded, where that has come with p.
func (n *Namespace) prepared(p *adapter.Packet, spoken parser.Parser) *engineio.Prepared {
	prepared, _ := p.Encoded(spoken, func(packet *parser.Packet) any {
		if f, ok := formOf(spoken); ok {
			if w := p.Shipped(f); w != nil {
				if made := engineio.FromFrames(w, forms[f].revision); made != nil {
					return made
				}
			}
		}
		wire, err := spoken.Encode(packet)
		if err != nil {
			n.server.options.Logger.Error("socket.io packet cannot be encoded", "for", spoken, "error", err)
			return (*engineio.Prepared)(nil)
		}
		return engineio.Prepare(messages(wire, p.Uncompressed)...)
	}).(*engineio.Prepared)
	return prepared
}
