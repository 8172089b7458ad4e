package adapter

import (
	"sync"

	"github.com/chaussette/chaussette/socketio/parser"
	"github.com/chaussette/chaussette/ws"
)

// Packet is a packet on its way to many sockets. It is encoded once for each protocol
// that they speak; adapters pass the pointer on. It must not be copied.
type Packet struct {
	parser.Packet
	// NoRecovery says that a client that was away does not get it later.
	NoRecovery bool
	// Uncompressed says that it is not to be compressed on its way to a client.
	Uncompressed bool

	shipped map[Form]*ws.Prepared // set before it is delivered; nil for none

	mu      sync.Mutex
	encoded []encoding // few: one for each protocol
}

type encoding struct{ key, value any }

// Ship adds to p how another worker has encoded it. It is called before p is delivered.
func (p *Packet) Ship(f Form, w *ws.Prepared) {
	if p.shipped == nil {
		p.shipped = map[Form]*ws.Prepared{}
	}
	p.shipped[f] = w
}

// Shipped is how another worker has encoded p, or nil.
func (p *Packet) Shipped(f Form) *ws.Prepared { return p.shipped[f] }

// Encoded returns what encode returned at the first call with this key.
func (p *Packet) Encoded(key any, encode func(*parser.Packet) any) any {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.encoded {
		if e.key == key {
			return e.value
		}
	}
	value := encode(&p.Packet)
	p.encoded = append(p.encoded, encoding{key, value})
	return value
}
