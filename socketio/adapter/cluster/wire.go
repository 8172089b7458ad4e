package cluster

import (
	"encoding/binary"
	"errors"

	"github.com/chaussette/chaussette/socketio/adapter"
)

// op says what a message is.
type op byte

const (
	opBroadcast op = iota + 1
	opAsk
	opAsked
	opAck
	opEnough
	opJoin
	opLeave
	opDisconnect
	opFetch
	opFetched
	opAllRooms
	opRooms
	opServerSide
	opServerSideAck
	opEvent
	opSync
	opWant
	opHistory
	opTake
	opTaken
	opSaved
	opForget
	opForms
	opEnd // none
)

// Flags of a packet.
const (
	flagVolatile = 1 << iota
	flagNoRecovery
	flagUncompressed
	flagEncoded // and comes as it goes to clients
)

// flagIf is flag where it is set.
func flagIf(set bool, flag uint64) uint64 {
	if set {
		return flag
	}
	return 0
}

// writer appends fields to a message.
type writer struct{ b []byte }

func newWriter(o op, size int) *writer {
	return &writer{append(make([]byte, 0, size+64), byte(o))}
}

func (w *writer) number(n uint64) { w.b = binary.AppendUvarint(w.b, n) }

func (w *writer) bytes(p []byte) {
	w.number(uint64(len(p)))
	w.b = append(w.b, p...)
}

func (w *writer) string(s string) {
	w.number(uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) rooms(list []adapter.Room) {
	w.number(uint64(len(list)))
	for _, r := range list {
		w.string(string(r))
	}
}

func (w *writer) opts(o adapter.Opts) {
	w.rooms(o.Rooms)
	w.rooms(o.Except)
}

func (w *writer) list(all [][]byte) {
	w.number(uint64(len(all)))
	for _, p := range all {
		w.bytes(p)
	}
}

var errMessage = errors.New("not a message of this version")

// reader takes fields from a message. After the first that is not there all are zero.
// What it returns is part of the message.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *reader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

// count is that of a list, whose elements take a byte at least.
func (r *reader) count() int {
	n := r.number()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *reader) rooms() []adapter.Room {
	n := r.count()
	if n == 0 {
		return nil
	}
	list := make([]adapter.Room, n)
	for i := range list {
		list[i] = adapter.Room(r.bytes())
	}
	return list
}

func (r *reader) opts() adapter.Opts { return adapter.Opts{Rooms: r.rooms(), Except: r.rooms()} }

func (r *reader) list() [][]byte {
	n := r.count()
	if n == 0 {
		return nil
	}
	list := make([][]byte, n)
	for i := range list {
		list[i] = r.bytes()
	}
	return list
}

// err is an error where a field was not there, or something is left.
func (r *reader) err() error {
	if r.bad || len(r.b) > 0 {
		return errMessage
	}
	return nil
}
