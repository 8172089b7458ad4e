package redis

import (
	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/outage"
)

// NewDeaf returns the adapter of a Broker without a connection, and what has it handle a
// message.
func NewDeaf(namespace, mode string, h adapter.Handler) (adapter.Adapter, func(channel, payload string)) {
	b := &Broker{uid: "me", config: config{prefix: DefaultPrefix, sharded: shards(mode)}, report: outage.New("redis", nil), spaces: map[*space]bool{}}
	b.link = &link{report: b.report, wanted: map[channel]func(string, string){}, touched: map[channel]bool{}, changed: make(chan struct{}, 1),
		settled: make(chan struct{}), open: true}
	s := newSpace(b, namespace, h)
	return s, s.received
}
