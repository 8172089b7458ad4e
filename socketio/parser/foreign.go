package parser

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/vmihailenco/msgpack/v5"
)

// What other servers send one another has values of the same kind as packets, in other
// envelopes.

// EncodeMsgpack returns a value as MessagePack, with the binary in it, as Node's notepack
// does: numbers without a fraction are integers.
func EncodeMsgpack(r Raw) ([]byte, error) {
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	e.UseCompactInts(true)
	w := msgpackWriter{e, r.Attachments, nil}
	w.json(r.JSON)
	return buf.Bytes(), w.err
}

// DecodeMsgpack returns a MessagePack value as JSON, with the binary lifted out. Nil for
// the limits means the defaults. Errors are a *SyntaxError.
func DecodeMsgpack(b []byte, l *Limits) (Raw, error) {
	limits := l.withDefaults()
	if len(b) > limits.Bytes {
		return Raw{}, syntax(ErrTooLarge, "%d bytes", len(b))
	}
	r := msgpackReader{limits: &limits, source: bytes.NewReader(b)}
	r.d = msgpack.NewDecoder(r.source)
	if err := r.value(0); err != nil {
		var known *SyntaxError
		if errors.As(err, &known) {
			return Raw{}, err
		}
		return Raw{}, syntax(ErrFormat, "%v", err)
	}
	if r.source.Len() > 0 {
		return Raw{}, syntax(ErrFormat, "%d bytes after the value", r.source.Len())
	}
	return Raw{r.out, r.attachments}, nil
}

// DecodeJSON returns JSON that has been looked through. Nil for the limits means the
// defaults. Errors are a *SyntaxError.
func DecodeJSON(b []byte, l *Limits) (Raw, error) {
	limits := l.withDefaults()
	if len(b) > limits.Bytes {
		return Raw{}, syntax(ErrTooLarge, "%d bytes", len(b))
	}
	return Raw{JSON: b}, scan(b, limits.Depth, 0)
}

// Part returns a value that is part of r with those attachments alone that it uses. It is
// an error if it speaks of one that is not there.
func (r Raw) Part(value json.RawMessage) (Raw, error) {
	b := builder{}
	err := b.raw(Raw{value, r.Attachments})
	return Raw{b.data, b.attachments}, err
}

// Check tells whether p, whose Data has been looked through, is what a client could have
// sent as well. Errors are a *SyntaxError.
func (p *Packet) Check() error { return p.check() }
