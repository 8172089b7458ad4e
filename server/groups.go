package server

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/chaussette/chaussette/listener/siblings"
	"github.com/chaussette/chaussette/ws"
)

// groupBus carries broadcasts to named groups of WebSockets between the workers on one
// socket. A message is the group's name with its length before it (a varint), and then the
// frames that each connection gets.
type groupBus struct {
	siblings *siblings.Siblings
	groups   *ws.Groups
	log      *slog.Logger
	logged   atomic.Int64 // unix seconds of the last line about what was lost
}

// joinGroups makes the groups those of all siblings. It is called before s is started.
func joinGroups(g *ws.Groups, s *siblings.Siblings, log *slog.Logger) {
	b := &groupBus{siblings: s, groups: g, log: log}
	s.Handle(siblings.Groups, b.receive)
	g.Join(b)
}

// Publish implements ws.Bus.
func (b *groupBus) Publish(group string, frames []byte) {
	head := make([]byte, 0, binary.MaxVarintLen16+len(group))
	head = binary.AppendUvarint(head, uint64(len(group)))
	head = append(head, group...)
	if _, err := b.siblings.Broadcast(siblings.Groups, head, frames); err != nil {
		if now := time.Now().Unix(); b.logged.Swap(now) != now {
			b.log.Warn("a broadcast does not reach the siblings", "group", group, "bytes", len(frames), "error", err)
		}
	}
}

var errGroupMessage = errors.New("not a message of this version")

func (b *groupBus) receive(m siblings.Message) {
	size, n := binary.Uvarint(m.Payload)
	err := errGroupMessage
	if n > 0 && size <= uint64(len(m.Payload)-n) {
		rest := m.Payload[n:]
		err = b.groups.Deliver(string(rest[:size]), rest[size:])
	}
	if err != nil {
		b.log.Warn("a sibling's broadcast is dropped", "sibling", m.From, "error", err)
	}
}
