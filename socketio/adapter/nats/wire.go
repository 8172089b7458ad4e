package nats

import (
	"encoding/binary"
	"errors"

	"github.com/chaussette/chaussette/socketio/adapter/cluster"
)

const version = 3

// what says what a message is.
type what byte

const (
	enter what = iota + 1
	here
	leave
	beat
	say
)

// message is one on NATS.
type message struct {
	what what
	from string
	near []cluster.Worker // siblings of the sender that have it already
	body []byte
}

func (m *message) encode() []byte {
	b := make([]byte, 0, len(m.body)+len(m.from)+8*len(m.near)+16)
	b = append(b, version, byte(m.what))
	b = appendText(b, m.from)
	b = binary.AppendUvarint(b, uint64(len(m.near)))
	for _, w := range m.near {
		b = appendText(b, string(w))
	}
	return append(b, m.body...)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errMessage = errors.New("not a message of this version")

// decode returns a message that is part of b.
func decode(b []byte) (message, error) {
	if len(b) < 2 || b[0] != version || b[1] < byte(enter) || b[1] > byte(say) {
		return message{}, errMessage
	}
	m := message{what: what(b[1])}
	from, b, ok := text(b[2:])
	if !ok || len(from) == 0 {
		return message{}, errMessage
	}
	m.from = from
	count, n := binary.Uvarint(b)
	if n <= 0 || count > uint64(len(b)) {
		return message{}, errMessage
	}
	b = b[n:]
	for range count {
		var tag string
		if tag, b, ok = text(b); !ok {
			return message{}, errMessage
		}
		m.near = append(m.near, cluster.Worker(tag))
	}
	m.body = b
	return m, nil
}

// text takes a string from the beginning of b.
func text(b []byte) (s string, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return "", nil, false
	}
	return string(b[n : n+int(size)]), b[n+int(size):], true
}
