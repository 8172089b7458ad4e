package handover

import (
	"encoding/binary"
	"errors"
)

// What a message is.
const (
	forSession byte = iota + 1
	offered         // and again, up to lastOffer
	_
	lastOffer
	busyness
	forStream
)

var errMessage = errors.New("not a message of this version")

// appendConnection appends all of a message but what was read.
func appendConnection(b []byte, what byte, remote string) []byte {
	b = append(b, what)
	b = binary.AppendUvarint(b, uint64(len(remote)))
	return append(b, remote...)
}

// parseConnection takes apart a message that comes with a connection.
func parseConnection(m []byte) (what byte, remote string, read []byte, err error) {
	if len(m) == 0 || m[0] < forSession || m[0] > lastOffer && m[0] != forStream {
		return 0, "", nil, errMessage
	}
	size, n := binary.Uvarint(m[1:])
	if n <= 0 || size > uint64(len(m)-1-n) {
		return 0, "", nil, errMessage
	}
	rest := m[1+n:]
	return m[0], string(rest[:size]), rest[size:], nil
}

// load is what a worker tells of itself.
type load struct {
	conns int  // long-lived
	takes bool // connections that are offered
}

func appendLoad(b []byte, l load) []byte {
	b = binary.AppendUvarint(append(b, busyness), uint64(l.conns))
	if l.takes {
		return append(b, 1)
	}
	return append(b, 0)
}

// maxConns is more than a process can have.
const maxConns = 1 << 30

func parseLoad(m []byte) (load, error) {
	if len(m) < 3 || m[0] != busyness {
		return load{}, errMessage
	}
	conns, n := binary.Uvarint(m[1:])
	if n <= 0 || conns > maxConns || len(m) != 1+n+1 || m[1+n] > 1 {
		return load{}, errMessage
	}
	return load{int(conns), m[1+n] == 1}, nil
}
