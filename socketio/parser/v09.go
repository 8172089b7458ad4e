package parser

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// V09 is protocol 1, of socket.io-client 0.9:
//
//	<type>:[<id>[+]]:[<endpoint>][:<data>]
//
// Its messages (types 3 and 4) are Events named "message"; endpoints are namespaces. It
// has no binary: []byte goes out as a base64 string. Heartbeats (2) and no-ops (8) belong
// to the transport and do not come here.
var V09 Parser = oldest{}

type oldest struct{}

func (oldest) String() string { return "socket.io 0.9" }

func (oldest) NewDecoder(l *Limits) Decoder {
	if l == nil {
		l = &defaultLimits
	}
	return &oldestDecoder{limits: l}
}

// Types of protocol 1.
const (
	oldDisconnect = '0'
	oldConnect    = '1'
	oldMessage    = '3'
	oldJSON       = '4'
	oldEvent      = '5'
	oldAck        = '6'
	oldErrorType  = '7'
)

func (oldest) Encode(p *Packet) ([]Message, error) {
	endpoint := p.namespace()
	if endpoint == "/" {
		endpoint = ""
	}
	data, err := inlineAttachments(p.Data, p.Attachments)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(data)+len(endpoint)+40)
	switch p.Type {
	case Connect:
		b = append(append(b, "1::"...), endpoint...)
	case Disconnect:
		b = append(append(b, "0::"...), endpoint...)
	case ConnectError:
		// The client knows three reasons by number and no text; this is "unauthorized".
		b = append(append(append(b, "7::"...), endpoint...), ":2"...)
	case Ack:
		b = append(append(append(b, "6::"...), endpoint...), ':')
		b = strconv.AppendUint(b, p.ID, 10)
		if len(data) > 2 { // not []
			b = append(append(b, '+'), data...)
		}
	case Event:
		b = append(b, "5:"...)
		if p.HasID {
			b = append(strconv.AppendUint(b, p.ID, 10), '+')
		}
		b = append(append(append(b, ':'), endpoint...), `:{"name":`...)
		first, ok := firstElement(data)
		if !ok {
			return nil, syntax(ErrPayload, "an event without a name")
		}
		if first[0] != '"' {
			first = json.RawMessage(strconv.Quote(string(first)))
		}
		b = append(b, first...)
		b = append(b, `,"args":[`...)
		for i, arg := range Elements(data)[1:] {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, arg...)
		}
		b = append(b, "]}"...)
	default:
		return nil, syntax(ErrType, "%v", p.Type)
	}
	return []Message{{Data: b}}, nil
}

// inlineAttachments puts each attachment as a base64 string where its placeholder is.
func inlineAttachments(data []byte, attachments [][]byte) ([]byte, error) {
	if len(attachments) == 0 {
		return data, nil
	}
	var b []byte
	from := 0
	err := placeholders(data, func(begin, end, num int) error {
		if num < 0 || num >= len(attachments) {
			return syntax(ErrPlaceholder, "%d of %d", num, len(attachments))
		}
		b = append(append(b, data[from:begin]...), '"')
		b = base64.StdEncoding.AppendEncode(b, attachments[num])
		b = append(b, '"')
		from = end
		return nil
	})
	return append(b, data[from:]...), err
}

type oldestDecoder struct{ limits *Limits }

func (d *oldestDecoder) Decode(m Message, p *Packet) (bool, error) {
	limits := d.limits.withDefaults()
	if m.Binary {
		return false, syntax(ErrNotPromised, "protocol 0.9 has no binary")
	}
	if len(m.Data) > limits.Bytes {
		return false, syntax(ErrTooLarge, "%d bytes", len(m.Data))
	}
	if !utf8.Valid(m.Data) {
		return false, syntax(ErrFormat, "not UTF-8")
	}
	typ, rest, ok := cut(m.Data)
	if !ok || len(typ) != 1 {
		return false, syntax(ErrFormat, "%.20q", m.Data)
	}
	id, rest, ok := cut(rest)
	if !ok {
		return false, syntax(ErrFormat, "%.20q", m.Data)
	}
	endpoint, data, _ := cut(rest)
	*p = Packet{Namespace: "/"}
	if err := p.oldID(string(id)); err != nil {
		return false, err
	}
	if ns, query, _ := strings.Cut(string(endpoint), "?"); ns != "" {
		if ns[0] != '/' {
			ns = "/" + ns
		}
		p.Namespace, p.Query = ns, query
	} else {
		p.Query = query
	}
	if err := p.oldData(typ[0], data, &limits); err != nil {
		return false, err
	}
	return true, p.check()
}

func cut(s []byte) (before, after []byte, found bool) {
	for i, c := range s {
		if c == ':' {
			return s[:i], s[i+1:], true
		}
	}
	return s, nil, false
}

func (p *Packet) oldID(id string) error {
	if id == "" {
		return nil
	}
	// With a plus the client has a callback that takes the arguments of our ack;
	// without, it only wants to know that the message came. One ack does for both.
	n, rest, ok := leadingNumber([]byte(strings.TrimSuffix(id, "+")))
	if !ok || len(rest) > 0 {
		return syntax(ErrFormat, "the id %.20q", id)
	}
	p.HasID, p.ID = true, n
	return nil
}

func (p *Packet) oldData(typ byte, data []byte, limits *Limits) error {
	switch typ {
	case oldDisconnect:
		p.Type = Disconnect
	case oldConnect:
		p.Type = Connect
	case oldMessage:
		p.Type = Event
		text, err := json.Marshal(string(data))
		if err != nil {
			return syntax(ErrJSON, "%v", err)
		}
		p.Data = append(append([]byte(`["message",`), text...), ']')
	case oldJSON:
		if err := scan(data, limits.Depth, 0); err != nil {
			return err
		}
		p.Type = Event
		p.Data = append(append([]byte(`["message",`), data...), ']')
	case oldEvent:
		return p.oldEvent(data, limits)
	case oldAck:
		return p.oldAck(data, limits)
	case oldErrorType:
		p.Type = ConnectError
	default:
		return syntax(ErrType, "%.1q", typ)
	}
	return nil
}

func (p *Packet) oldEvent(data []byte, limits *Limits) error {
	if err := scan(data, limits.Depth, 0); err != nil {
		return err
	}
	var e struct {
		Name *string         `json:"name"`
		Args json.RawMessage `json:"args"`
	}
	if err := json.Unmarshal(data, &e); err != nil || e.Name == nil {
		return syntax(ErrPayload, "an event is an object with a name")
	}
	name, err := json.Marshal(*e.Name)
	if err != nil {
		return syntax(ErrJSON, "%v", err)
	}
	p.Type = Event
	p.Data = append([]byte{'['}, name...)
	if len(e.Args) > 0 && e.Args[0] != '[' && string(e.Args) != "null" {
		return syntax(ErrPayload, "an event's args are an array")
	}
	if inner := trimSpace(e.Args); len(inner) >= 2 && inner[0] == '[' {
		if _, some := firstElement(inner); some {
			p.Data = append(append(p.Data, ','), inner[1:len(inner)-1]...)
		}
	}
	p.Data = append(p.Data, ']')
	return nil
}

func (p *Packet) oldAck(data []byte, limits *Limits) error {
	id, rest, ok := leadingNumber(data)
	if !ok {
		return syntax(ErrPayload, "an ack without an id")
	}
	p.Type, p.HasID, p.ID, p.Data = Ack, true, id, []byte("[]")
	if len(rest) == 0 {
		return nil
	}
	if rest[0] != '+' {
		return syntax(ErrFormat, "%.20q", data)
	}
	if rest = rest[1:]; len(rest) == 0 {
		return nil
	}
	if err := scan(rest, limits.Depth, 0); err != nil {
		return err
	}
	p.Data = rest
	return nil
}
