package nats

import (
	"context"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter/cluster"
)

// Settle is that of a namespace that was announced just now.
func Settle(ctx context.Context, late bool) {
	s := &space{}
	s.announced.Store(time.Now().UnixNano())
	s.Settle(ctx, late)
}

// Connected tells whether NATS is there.
func (b *Broker) Connected() bool { return b.conn.IsConnected() }

const ours = string(rune(version))

// Nonsense is no message.
var Nonsense = []string{
	"", ours, string(rune(version-1)) + "\x01\x01a\x00", string(rune(version+1)) + "\x01\x01a\x00", ours + "\x00\x01a\x00", ours + "\x06\x01a\x00",
	ours + "\x01\x00\x00", ours + "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", ours + "\x05\x01a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
	ours + "\x05\x01a\x02\x01a",
}

// Encode encodes a message.
func Encode(w byte, from string, near []string, body []byte) []byte {
	m := message{what: what(w), from: from, body: body}
	for _, n := range near {
		m.near = append(m.near, cluster.Worker(n))
	}
	return m.encode()
}

// Decode decodes a message.
func Decode(b []byte) (w byte, from string, near []string, body []byte, err error) {
	m, err := decode(b)
	for _, n := range m.near {
		near = append(near, string(n))
	}
	return byte(m.what), m.from, near, m.body, err
}
