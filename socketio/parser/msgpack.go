package parser

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// Msgpack is protocol 5 with each packet one binary message: a MessagePack map of type,
// nsp, data and id, binary included. Clients speak it with socket.io-msgpack-parser.
var Msgpack Parser = msgpackParser{}

type msgpackParser struct{}

func (msgpackParser) String() string { return "socket.io 5 in MessagePack" }

func (msgpackParser) NewDecoder(l *Limits) Decoder {
	if l == nil {
		l = &defaultLimits
	}
	return &msgpackDecoder{limits: l}
}

func (msgpackParser) Encode(p *Packet) ([]Message, error) {
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	e.UseCompactInts(true)
	fields := 2
	if len(p.Data) > 0 {
		fields++
	}
	if p.HasID {
		fields++
	}
	w := msgpackWriter{e, p.Attachments, nil}
	w.do(e.EncodeMapLen(fields))
	w.do(e.EncodeString("type"))
	w.do(e.EncodeUint(uint64(p.Type)))
	w.do(e.EncodeString("nsp"))
	w.do(e.EncodeString(p.namespace()))
	if len(p.Data) > 0 {
		w.do(e.EncodeString("data"))
		w.json(p.Data)
	}
	if p.HasID {
		w.do(e.EncodeString("id"))
		w.do(e.EncodeUint(p.ID))
	}
	if w.err != nil {
		return nil, w.err
	}
	return []Message{{Data: buf.Bytes(), Binary: true}}, nil
}

// msgpackWriter writes JSON as MessagePack.
type msgpackWriter struct {
	e           *msgpack.Encoder
	attachments [][]byte
	err         error
}

func (w *msgpackWriter) do(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *msgpackWriter) value(v any) {
	switch v := v.(type) {
	case nil:
		w.do(w.e.EncodeNil())
	case bool:
		w.do(w.e.EncodeBool(v))
	case string:
		w.do(w.e.EncodeString(v))
	case json.Number:
		w.number(v)
	case []any:
		w.do(w.e.EncodeArrayLen(len(v)))
		for _, item := range v {
			w.value(item)
		}
	case []member:
		if num, ok := w.attachment(v); ok {
			w.do(w.e.EncodeBytes(w.attachments[num]))
			return
		}
		w.do(w.e.EncodeMapLen(len(v)))
		for _, m := range v {
			w.do(w.e.EncodeString(m.name))
			w.value(m.value)
		}
	}
}

// member is one of an object. Objects are lists of them: in JavaScript their members have
// an order, and a page may go by it.
type member struct {
	name  string
	value any
}

// json writes a JSON value.
func (w *msgpackWriter) json(data []byte) {
	// Who sends a name twice means the last, as always in JavaScript.
	d := jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	v, err := decodeOrdered(d)
	if err == nil {
		if _, end := d.ReadToken(); end != io.EOF {
			err = syntax(ErrJSON, "something after the value")
		}
	}
	w.do(err)
	if err == nil {
		w.value(v)
	}
}

// decodeOrdered reads a value: nil, bool, string, json.Number, []any or []member.
func decodeOrdered(d *jsontext.Decoder) (any, error) {
	t, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch t.Kind() {
	case 't', 'f':
		return t.Bool(), nil
	case '"':
		return t.String(), nil
	case '0':
		return json.Number(t.String()), nil
	case '[':
		list := []any{}
		for d.PeekKind() != ']' {
			v, err := decodeOrdered(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.ReadToken()
		return list, err
	case '{':
		members := []member{}
		for d.PeekKind() != '}' {
			name, err := d.ReadToken()
			if err != nil {
				return nil, err
			}
			m := member{name: name.String()} // before the next is read
			if m.value, err = decodeOrdered(d); err != nil {
				return nil, err
			}
			members = append(members, m)
		}
		_, err := d.ReadToken()
		return members, err
	}
	return nil, nil
}

func (w *msgpackWriter) attachment(object []member) (num int, ok bool) {
	var n json.Number
	for _, m := range object {
		switch m.name {
		case "_placeholder":
			ok = m.value == true
		case "num":
			n, _ = m.value.(json.Number)
		}
	}
	if len(w.attachments) == 0 || !ok {
		return 0, false
	}
	num, err := strconv.Atoi(n.String())
	return num, err == nil && num >= 0 && num < len(w.attachments)
}

func (w *msgpackWriter) number(n json.Number) {
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
		w.do(w.e.EncodeInt(i))
	} else if u, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
		w.do(w.e.EncodeUint(u))
	} else if f, err := n.Float64(); err == nil {
		w.do(w.e.EncodeFloat64(f))
	} else {
		w.do(err)
	}
}

type msgpackDecoder struct{ limits *Limits }

func (d *msgpackDecoder) Decode(m Message, p *Packet) (bool, error) {
	limits := d.limits.withDefaults()
	if !m.Binary {
		return false, syntax(ErrFormat, "text, after MessagePack")
	}
	if len(m.Data) > limits.Bytes {
		return false, syntax(ErrTooLarge, "%d bytes", len(m.Data))
	}
	r := msgpackReader{limits: &limits, source: bytes.NewReader(m.Data)}
	r.d = msgpack.NewDecoder(r.source)
	*p = Packet{Namespace: "/"}
	if err := r.packet(p); err != nil {
		var known *SyntaxError
		if errors.As(err, &known) {
			return false, err
		}
		return false, syntax(ErrFormat, "%v", err)
	}
	if r.source.Len() > 0 {
		return false, syntax(ErrFormat, "%d bytes after the packet", r.source.Len())
	}
	return true, p.check()
}

// msgpackReader turns MessagePack into JSON with attachments.
type msgpackReader struct {
	d           *msgpack.Decoder
	source      *bytes.Reader
	limits      *Limits
	out         []byte
	attachments [][]byte
}

func (r *msgpackReader) packet(p *Packet) error {
	n, err := r.d.DecodeMapLen()
	if err != nil {
		return err
	}
	typed := false
	for range n {
		key, err := r.d.DecodeString()
		if err != nil {
			return err
		}
		switch key {
		case "type":
			t, err := r.d.DecodeUint64()
			if err != nil {
				return err
			}
			if t > uint64(ConnectError) {
				return syntax(ErrType, "%d", t)
			}
			p.Type, typed = Type(t), true
		case "nsp":
			if p.Namespace, err = r.d.DecodeString(); err != nil {
				return err
			}
			if !utf8.ValidString(p.Namespace) || len(p.Namespace) == 0 || p.Namespace[0] != '/' {
				return syntax(ErrFormat, "the namespace %.20q", p.Namespace)
			}
		case "id":
			if code, err := r.d.PeekCode(); err == nil && code == msgpcode.Nil {
				_ = r.d.DecodeNil()
				continue
			}
			if p.ID, err = r.d.DecodeUint64(); err != nil {
				return err
			}
			if p.ID > maxID {
				return syntax(ErrFormat, "an ack id beyond 2^53")
			}
			p.HasID = true
		case "data":
			r.out, r.attachments = nil, nil
			if err := r.value(0); err != nil {
				return err
			}
			if p.Data, p.Attachments = r.out, r.attachments; string(p.Data) == "null" {
				p.Data = nil
			}
		default: // "options" is what the client kept for itself
			if err := r.skip(); err != nil {
				return err
			}
		}
	}
	if !typed {
		return syntax(ErrType, "none")
	}
	return nil
}

// skip reads a value and forgets it, within the same limits.
func (r *msgpackReader) skip() error {
	out, attachments := r.out, r.attachments
	err := r.value(0)
	r.out, r.attachments = out, attachments
	return err
}

func (r *msgpackReader) value(depth int) error {
	if depth > r.limits.Depth {
		return syntax(ErrDepth, "more than %d levels", r.limits.Depth)
	}
	// JSON is longer than MessagePack, but not by much more than this.
	if len(r.out) > 8*r.limits.Bytes {
		return syntax(ErrTooLarge, "as JSON")
	}
	code, err := r.d.PeekCode()
	if err != nil {
		return err
	}
	switch {
	case code == msgpcode.Nil:
		r.out = append(r.out, "null"...)
		return r.d.DecodeNil()
	case code == msgpcode.False, code == msgpcode.True:
		b, err := r.d.DecodeBool()
		r.out = strconv.AppendBool(r.out, b)
		return err
	case msgpcode.IsFixedNum(code), code >= msgpcode.Uint8 && code <= msgpcode.Int64:
		return r.integer(code)
	case code == msgpcode.Float, code == msgpcode.Double:
		f, err := r.d.DecodeFloat64()
		return errors.Join(err, r.float(f))
	case msgpcode.IsString(code):
		s, err := r.d.DecodeString()
		if !utf8.ValidString(s) {
			return syntax(ErrFormat, "a string that is not UTF-8")
		}
		b := builder{data: r.out}
		b.text(s)
		r.out = b.data
		return err
	case msgpcode.IsBin(code):
		n, err := r.d.DecodeBytesLen()
		if err != nil {
			return err
		}
		// DecodeBytes would make room for what five bytes claim: up to 4 GiB.
		if n > r.source.Len() {
			return syntax(ErrFormat, "binary of %d bytes", n)
		}
		p := make([]byte, n)
		if err := r.d.ReadFull(p); err != nil {
			return err
		}
		return r.attach(p)
	case msgpcode.IsFixedArray(code), code == msgpcode.Array16, code == msgpcode.Array32:
		return r.array(depth)
	case msgpcode.IsFixedMap(code), code == msgpcode.Map16, code == msgpcode.Map32:
		return r.object(depth)
	case msgpcode.IsExt(code):
		return r.extension()
	}
	return syntax(ErrFormat, "the code %#x", code)
}

func (r *msgpackReader) integer(code byte) error {
	if code == msgpcode.Uint64 {
		u, err := r.d.DecodeUint64()
		r.out = strconv.AppendUint(r.out, u, 10)
		return err
	}
	i, err := r.d.DecodeInt64()
	r.out = strconv.AppendInt(r.out, i, 10)
	return err
}

func (r *msgpackReader) float(f float64) error {
	if math.IsNaN(f) || math.IsInf(f, 0) { // JSON.stringify makes null of them
		r.out = append(r.out, "null"...)
		return nil
	}
	b, err := json.Marshal(f)
	r.out = append(r.out, b...)
	return err
}

func (r *msgpackReader) attach(p []byte) error {
	if len(r.attachments) >= r.limits.Attachments {
		return syntax(ErrAttachments, "at most %d", r.limits.Attachments)
	}
	b := builder{data: r.out, attachments: r.attachments}
	b.attach(p)
	r.out, r.attachments = b.data, b.attachments
	return nil
}

func (r *msgpackReader) array(depth int) error {
	n, err := r.d.DecodeArrayLen()
	if err != nil {
		return err
	}
	r.out = append(r.out, '[')
	for i := range n {
		if i > 0 {
			r.out = append(r.out, ',')
		}
		if err := r.value(depth + 1); err != nil {
			return err
		}
	}
	r.out = append(r.out, ']')
	return nil
}

func (r *msgpackReader) object(depth int) error {
	n, err := r.d.DecodeMapLen()
	if err != nil {
		return err
	}
	r.out = append(r.out, '{')
	for i := range n {
		if i > 0 {
			r.out = append(r.out, ',')
		}
		code, err := r.d.PeekCode()
		if err != nil {
			return err
		}
		if !msgpcode.IsString(code) {
			return syntax(ErrFormat, "a key that is not a string")
		}
		if err := r.value(depth + 1); err != nil {
			return err
		}
		r.out = append(r.out, ':')
		if err := r.value(depth + 1); err != nil {
			return err
		}
	}
	r.out = append(r.out, '}')
	return nil
}

// extension reads what notepack makes of Date (-1, and 0 with 8 bytes before version 3)
// and of undefined (0 with 1 byte).
func (r *msgpackReader) extension() error {
	id, n, err := r.d.DecodeExtHeader()
	if err != nil {
		return err
	}
	if n < 0 || n > r.source.Len() {
		return syntax(ErrFormat, "an extension of %d bytes", n)
	}
	p := make([]byte, n)
	if err := r.d.ReadFull(p); err != nil {
		return err
	}
	var at time.Time
	switch {
	case id == 0 && n == 1:
		r.out = append(r.out, "null"...)
		return nil
	case id == 0 && n == 8:
		at = time.UnixMilli(int64(bigEndian(p)))
	case id == 0:
		return r.attach(p)
	case id == -1 && n == 4:
		at = time.Unix(int64(bigEndian(p)), 0)
	case id == -1 && n == 8:
		v := bigEndian(p)
		at = time.Unix(int64(v&(1<<34-1)), int64(v>>34))
	case id == -1 && n == 12:
		at = time.Unix(int64(bigEndian(p[4:])), int64(bigEndian(p[:4])))
	default:
		return syntax(ErrFormat, "the extension %d", id)
	}
	if y := at.UTC().Year(); y < 0 || y > 9999 {
		return syntax(ErrFormat, "a date beyond the year 9999")
	}
	r.out = fmt.Appendf(r.out, "%q", at.UTC().Format("2006-01-02T15:04:05.000Z"))
	return nil
}

func bigEndian(p []byte) (v uint64) {
	for _, b := range p {
		v = v<<8 | uint64(b)
	}
	return v
}
