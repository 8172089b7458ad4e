package parser

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// V5 is protocol 5, of socket.io-client 3 and 4.
var V5 Parser = textParser{name: "socket.io 5"}

// V4 is protocols 3 and 4, of socket.io-client 1 and 2. What it encodes is ASCII: clients
// before 2.0 encode the text of long-polling twice as UTF-8 and expect the same, the later
// ones do not, and nothing tells one from the other. JSON can do without.
var V4 Parser = textParser{name: "socket.io 4", old: true}

type textParser struct {
	name string
	old  bool
}

func (t textParser) String() string { return t.name }

func (t textParser) NewDecoder(l *Limits) Decoder {
	d := &textDecoder{old: t.old}
	if l == nil {
		l = &defaultLimits
	}
	d.limits = l
	return d
}

var defaultLimits Limits

const (
	wireBinaryEvent = 5
	wireBinaryAck   = 6
)

func (t textParser) Encode(p *Packet) ([]Message, error) {
	data, typ := p.Data, byte(p.Type)
	if t.old {
		switch p.Type {
		case Connect:
			data = nil // these clients know their id from Engine.IO
		case ConnectError:
			data = oldError(data)
		}
		data = toASCII(data)
	}
	if len(p.Attachments) > 0 {
		typ += wireBinaryEvent - byte(Event)
	}
	b := make([]byte, 0, len(data)+len(p.Namespace)+24)
	b = append(b, '0'+typ)
	if n := len(p.Attachments); n > 0 {
		b = strconv.AppendInt(b, int64(n), 10)
		b = append(b, '-')
	}
	if ns := p.namespace(); ns != "/" {
		b = append(b, ns...)
		if p.Query != "" {
			b = append(append(b, '?'), p.Query...)
		}
		// Without data the comma may be left out, but not every client knows.
		b = append(b, ',')
	}
	if p.HasID {
		b = strconv.AppendUint(b, p.ID, 10)
	}
	b = append(b, data...)
	messages := make([]Message, 1+len(p.Attachments))
	messages[0] = Message{Data: b}
	for i, a := range p.Attachments {
		messages[1+i] = Message{Data: a, Binary: true}
	}
	return messages, nil
}

// oldError makes of the object that CONNECT_ERROR carries in protocol 5 what ERROR
// carried before: the error's data if there are any, else its message.
func oldError(data []byte) []byte {
	var e struct {
		Message json.RawMessage `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	if json.Unmarshal(data, &e) != nil {
		return data
	}
	if len(e.Data) > 0 {
		return e.Data
	}
	return e.Message
}

// toASCII escapes what is not ASCII. data is JSON, in which that is found only in strings.
func toASCII(data []byte) []byte {
	ascii := true
	for _, c := range data {
		if c >= utf8.RuneSelf {
			ascii = false
			break
		}
	}
	if ascii {
		return data
	}
	const hex = "0123456789abcdef"
	b := make([]byte, 0, len(data)*2)
	unit := func(u rune) {
		b = append(b, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
	}
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		data = data[size:]
		switch {
		case r < utf8.RuneSelf:
			b = append(b, byte(r))
		case r >= 0x10000:
			r -= 0x10000
			unit(0xD800 + r>>10)
			unit(0xDC00 + r&0x3FF)
		default:
			unit(r)
		}
	}
	return b
}

// textDecoder decodes V4 and V5.
type textDecoder struct {
	limits  *Limits
	old     bool
	pending *pending
}

// pending is a packet whose attachments are on the way.
type pending struct {
	packet  Packet
	missing int
	bytes   int
}

func (d *textDecoder) Decode(m Message, p *Packet) (bool, error) {
	limits := d.limits.withDefaults()
	if m.Binary {
		return d.attachment(m.Data, p, &limits)
	}
	if d.pending != nil {
		return false, syntax(ErrNotDelivered, "%d of %d", d.pending.missing, d.pending.missing+len(d.pending.packet.Attachments))
	}
	if len(m.Data) > limits.Bytes {
		return false, syntax(ErrTooLarge, "%d bytes", len(m.Data))
	}
	*p = Packet{}
	attachments, err := d.header(m.Data, p, &limits)
	if err != nil {
		return false, err
	}
	if len(p.Data) > 0 {
		if err := scan(p.Data, limits.Depth, attachments); err != nil {
			return false, err
		}
	}
	if err := p.check(); err != nil {
		return false, err
	}
	if attachments == 0 {
		return true, nil
	}
	d.pending = &pending{packet: *p, missing: attachments, bytes: len(m.Data)}
	return false, nil
}

func (d *textDecoder) attachment(data []byte, p *Packet, limits *Limits) (bool, error) {
	w := d.pending
	if w == nil {
		return false, syntax(ErrNotPromised, "%d bytes", len(data))
	}
	if w.bytes += len(data); w.bytes > limits.Bytes {
		return false, syntax(ErrTooLarge, "more than %d bytes", limits.Bytes)
	}
	w.packet.Attachments = append(w.packet.Attachments, data)
	if w.missing--; w.missing > 0 {
		return false, nil
	}
	d.pending = nil
	*p = w.packet
	return true, nil
}

// header parses what stands before the JSON, and returns how many attachments follow.
func (d *textDecoder) header(s []byte, p *Packet, limits *Limits) (attachments int, err error) {
	if len(s) == 0 || s[0] < '0' || s[0] > '0'+wireBinaryAck {
		return 0, syntax(ErrType, "%.1q", s)
	}
	typ := s[0] - '0'
	s = s[1:]
	if typ == wireBinaryEvent || typ == wireBinaryAck {
		typ -= wireBinaryEvent - byte(Event)
		n, rest, ok := leadingNumber(s)
		if !ok || len(rest) == 0 || rest[0] != '-' {
			return 0, syntax(ErrFormat, "a binary packet without the number of its attachments")
		}
		if n > uint64(limits.Attachments) {
			return 0, syntax(ErrAttachments, "%d, at most %d", n, limits.Attachments)
		}
		attachments, s = int(n), rest[1:]
	}
	p.Type = Type(typ)
	p.Namespace = "/"
	if len(s) > 0 && s[0] == '/' {
		end := len(s)
		for i, c := range s {
			if c == ',' {
				end = i
				break
			}
		}
		if !utf8.Valid(s[:end]) {
			return 0, syntax(ErrFormat, "a namespace that is not UTF-8")
		}
		p.Namespace, p.Query, _ = strings.Cut(string(s[:end]), "?")
		s = s[min(end+1, len(s)):]
	}
	if len(s) > 0 && s[0] >= '0' && s[0] <= '9' {
		id, rest, ok := leadingNumber(s)
		if !ok {
			return 0, syntax(ErrFormat, "an ack id beyond 2^53")
		}
		p.HasID, p.ID, s = true, id, rest
	}
	if len(s) > 0 {
		p.Data = s
	}
	return attachments, nil
}

// leadingNumber parses the digits at the beginning of s; not ok without any, and beyond
// maxID.
func leadingNumber(s []byte) (n uint64, rest []byte, ok bool) {
	i := 0
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		if n = n*10 + uint64(s[i]-'0'); n > maxID {
			return 0, s, false
		}
	}
	return n, s[i:], i > 0
}
