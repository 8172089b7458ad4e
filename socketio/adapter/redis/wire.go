package redis

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/cluster"
	"github.com/chaussette/chaussette/socketio/parser"
)

// kind says what an envelope is for.
type kind byte

const (
	broadcast kind = iota + 1
	ask            // a packet that wants acks
	join
	leave
	disconnect
	fetch
	fetchIDs // as before version 6 of Node's adapter
	allRooms
	serverSide
	// Answers.
	fetched
	rooms
	serverSided
	counted // how many were asked
	acked
	done // that of the requests of old versions which need none
)

// envelope is what one worker sends others, in either format. Which fields there are
// follows from its kind.
type envelope struct {
	kind    kind
	uid     string // who has sent it; empty if that is not said
	request string // its number, for what is answered; empty if no answer is wanted
	ours    bool   // it comes from a worker of this server, and not of Node's
	near    near   // who has it already

	packet parser.Raw // what is emitted: the event's name and its arguments; of an ack the argument
	opts   adapter.Opts
	// uncompressed says that what is emitted is not to be compressed on its way to a client.
	uncompressed bool
	rooms        []adapter.Room
	closing      bool
	sockets      []adapter.Description
	count        int
	// skipped says that who answers was near, and has answered by the other way.
	skipped bool
}

// near are the siblings of the sender that have a message already.
type near struct {
	group string
	tags  []cluster.Worker
}

func (n near) has(group string, tag cluster.Worker) bool {
	return group != "" && n.group == group && slices.Contains(n.tags, tag)
}

// wireNear is near as it stands in messages: the group, and the tags.
type wireNear []string

func (n near) wire() wireNear {
	w := wireNear{n.group}
	for _, t := range n.tags {
		w = append(w, string(t))
	}
	return w
}

func (w wireNear) near() near {
	if len(w) == 0 {
		return near{}
	}
	n := near{group: w[0]}
	for _, t := range w[1:] {
		n.tags = append(n.tags, cluster.Worker(t))
	}
	return n
}

// limits of a message: those of packets, with the levels that envelopes have.
var limits = parser.Limits{Depth: 136}

// decode decodes a message of either encoding.
func decode(payload string) (parser.Raw, error) {
	if len(payload) > 0 && payload[0] == '{' {
		return parser.DecodeJSON([]byte(payload), &limits)
	}
	return parser.DecodeMsgpack([]byte(payload), &limits)
}

// encode encodes a message as JSON, or as MessagePack where it has binary.
func encode(r parser.Raw) ([]byte, error) {
	if len(r.Attachments) == 0 {
		return r.JSON, nil
	}
	return parser.EncodeMsgpack(r)
}

// wireOpts are adapter.Opts.
type wireOpts struct {
	Rooms  roomList  `json:"rooms"`
	Except roomList  `json:"except"`
	Flags  wireFlags `json:"flags"`
}

type wireFlags struct {
	Volatile bool `json:"volatile,omitempty"`
	// Compress is there where an app has said it; what is false is not to be compressed.
	Compress *bool `json:"compress,omitempty"`
	// Timeout of acks, in milliseconds.
	Timeout float64 `json:"timeout,omitempty"`
}

// roomList is a list of rooms. Those of Node may be numbers.
type roomList []adapter.Room

// MarshalJSON implements json.Marshaler.
func (l roomList) MarshalJSON() ([]byte, error) {
	if l == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]adapter.Room(l))
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *roomList) UnmarshalJSON(b []byte) error {
	var all []any
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	*l = nil
	for _, r := range all {
		switch r := r.(type) {
		case string:
			*l = append(*l, adapter.Room(r))
		case float64:
			*l = append(*l, adapter.Room(strconv.FormatFloat(r, 'f', -1, 64)))
		default:
			return fmt.Errorf("a room that is %T", r)
		}
	}
	return nil
}

// wireOpts are e's for other workers.
func (e *envelope) wireOpts() wireOpts {
	o := e.opts
	w := wireOpts{o.Rooms, o.Except, wireFlags{Volatile: o.Flags.Volatile, Timeout: float64(o.Flags.Timeout) / float64(time.Millisecond)}}
	if e.uncompressed {
		w.Flags.Compress = new(bool)
	}
	return w
}

// uncompressed tells whether what goes with w is not to be compressed.
func (w wireOpts) uncompressed() bool { return w.Flags.Compress != nil && !*w.Flags.Compress }

func (w wireOpts) opts() adapter.Opts {
	o := adapter.Opts{Rooms: w.Rooms, Except: w.Except, Flags: adapter.Flags{Volatile: w.Flags.Volatile}}
	if t := w.Flags.Timeout; t > 0 && t < float64(longestAsk/time.Millisecond) {
		o.Flags.Timeout = time.Duration(t * float64(time.Millisecond))
	}
	return o
}

// wirePacket is a packet. Its type is that of an event whether there is binary in it or
// not.
type wirePacket struct {
	Type      *int            `json:"type"`
	Data      json.RawMessage `json:"data"`
	Namespace *string         `json:"nsp"`
}

// packetOf returns the data of an event that came in whole.
func (w wirePacket) packetOf(whole parser.Raw, namespace string) (parser.Raw, error) {
	if w.Namespace != nil && *w.Namespace != namespace {
		return parser.Raw{}, fmt.Errorf("a packet of the namespace %.40q in a channel of %q", *w.Namespace, namespace)
	}
	if w.Type == nil || *w.Type != 2 && *w.Type != 5 {
		return parser.Raw{}, fmt.Errorf("a packet that is no event")
	}
	return eventOf(whole, w.Data)
}

// eventOf returns the part of whole that is an event's name and arguments.
func eventOf(whole parser.Raw, data json.RawMessage) (parser.Raw, error) {
	r, err := whole.Part(data)
	if err != nil {
		return r, err
	}
	p := parser.Packet{Type: parser.Event, Data: r.JSON, Attachments: r.Attachments}
	return r, p.Check()
}

// partOf returns a part of whole that need not be there.
func partOf(whole parser.Raw, part json.RawMessage) (parser.Raw, error) {
	if len(part) == 0 {
		return parser.Raw{}, nil
	}
	return whole.Part(part)
}

// object builds JSON around values that have been encoded.
type object []byte

func (o *object) field(name string, value json.RawMessage) {
	if len(*o) == 0 {
		*o = append(*o, '{')
	} else {
		*o = append(*o, ',')
	}
	*o = append(strconv.AppendQuote(*o, name), ':')
	*o = append(*o, value...)
}

func (o *object) value(name string, v any) { o.field(name, text(v)) }

func (o *object) end() json.RawMessage {
	if len(*o) == 0 {
		return json.RawMessage("{}")
	}
	return json.RawMessage(append(*o, '}'))
}

// text is JSON of what always can be.
func text(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("redis adapter: " + err.Error()) // a mistake in this package
	}
	return b
}

func packetText(namespace string, r parser.Raw) json.RawMessage {
	var o object
	o.field("type", json.RawMessage("2"))
	o.field("data", r.JSON)
	o.value("nsp", namespace)
	return o.end()
}

// argument is the first of those in an ack, which is all that the formats have room for.
// It is nil if there is none.
func argument(r parser.Raw) (parser.Raw, error) {
	all := parser.Elements(r.JSON)
	if len(all) == 0 {
		return parser.Raw{}, nil
	}
	return r.Part(all[0])
}

// arguments is the opposite of argument.
func arguments(one parser.Raw) parser.Raw {
	if len(one.JSON) == 0 {
		return parser.Raw{JSON: json.RawMessage("[]")}
	}
	list := append(append(json.RawMessage{'['}, one.JSON...), ']')
	return parser.Raw{JSON: list, Attachments: one.Attachments}
}

// wireSocket is a socket as Node describes it.
type wireSocket struct {
	ID        adapter.SocketID `json:"id"`
	Handshake wireHandshake    `json:"handshake"`
	Rooms     roomList         `json:"rooms"`
	Data      json.RawMessage  `json:"data"`
}

type wireHandshake struct {
	Headers map[string]headerValue `json:"headers"`
	Time    string                 `json:"time"`
	Address string                 `json:"address"`
	// Port stands for itself: in Node the address has none. A field of this server.
	Port    string            `json:"port,omitempty"`
	XDomain bool              `json:"xdomain"`
	Secure  bool              `json:"secure"`
	Issued  float64           `json:"issued"` // in milliseconds since 1970
	URL     string            `json:"url"`
	Query   map[string]string `json:"query"`
	Auth    json.RawMessage   `json:"auth,omitempty"`
}

// headerValue is a header, which in Node is a text, or a list for a few.
type headerValue []string

// MarshalJSON implements json.Marshaler.
func (v headerValue) MarshalJSON() ([]byte, error) { return json.Marshal(strings.Join(v, ", ")) }

// UnmarshalJSON implements json.Unmarshaler.
func (v *headerValue) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(v))
	}
	var one string
	err := json.Unmarshal(b, &one)
	*v = headerValue{one}
	return err
}

func describe(d adapter.Description) wireSocket {
	h := d.Handshake
	w := wireSocket{ID: d.ID, Rooms: d.Rooms, Data: d.Data, Handshake: wireHandshake{
		Headers: map[string]headerValue{}, Time: h.Issued.Format("Mon Jan 02 2006 15:04:05 GMT-0700"), Address: h.Address,
		XDomain: len(h.Headers["Origin"]) > 0, Secure: h.Secure, Issued: float64(h.Issued.UnixMilli()), URL: h.URL,
		Query: map[string]string{}, Auth: h.Auth,
	}}
	if host, port, err := net.SplitHostPort(h.Address); err == nil {
		w.Handshake.Address, w.Handshake.Port = host, port
	}
	for name, values := range h.Headers {
		w.Handshake.Headers[strings.ToLower(name)] = values
	}
	if u, err := url.Parse(h.URL); err == nil {
		for name, values := range u.Query() {
			w.Handshake.Query[name] = values[0]
		}
	}
	if len(w.Data) == 0 {
		w.Data = json.RawMessage("{}")
	}
	w.Data = withAdmin(w.Data, wireAdmin{d.Client, d.Transport})
	return w
}

// wireAdmin is what Node's admin UI keeps in the data of a socket.
type wireAdmin struct {
	Client    string `json:"clientId"`
	Transport string `json:"transport"`
}

// withAdmin adds a to data, where there is an a, and data is an object or null.
func withAdmin(data json.RawMessage, a wireAdmin) json.RawMessage {
	if a == (wireAdmin{}) {
		return data
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return data
	}
	if fields == nil {
		fields = map[string]json.RawMessage{}
	}
	fields["_admin"] = text(a)
	return text(fields)
}

// withoutAdmin is the reverse of withAdmin.
func withoutAdmin(data json.RawMessage) (json.RawMessage, wireAdmin) {
	var a wireAdmin
	if !bytes.Contains(data, []byte(`"_admin"`)) {
		return data, a
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil || json.Unmarshal(fields["_admin"], &a) != nil {
		return data, wireAdmin{}
	}
	delete(fields, "_admin")
	return text(fields), a
}

func (w wireSocket) description() adapter.Description {
	h := w.Handshake
	data, admin := withoutAdmin(w.Data)
	d := adapter.Description{ID: w.ID, Rooms: w.Rooms, Data: data, Client: admin.Client, Transport: admin.Transport, Handshake: adapter.Handshake{
		Address: h.Address, URL: h.URL, Headers: map[string][]string{}, Secure: h.Secure, Auth: h.Auth,
	}}
	if h.Port != "" {
		d.Handshake.Address = net.JoinHostPort(h.Address, h.Port)
	}
	if h.Issued > 0 && h.Issued < 1e15 {
		d.Handshake.Issued = time.UnixMilli(int64(h.Issued))
	}
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		d.Handshake.Headers[http.CanonicalHeaderKey(name)] = h.Headers[name]
	}
	return d
}

// socketsText is a list for fetched. There is one even if it is empty: Node waits for it.
func socketsText(all []adapter.Description) json.RawMessage {
	list := make([]wireSocket, len(all))
	for i, d := range all {
		list[i] = describe(d)
	}
	return text(list)
}

func socketsOf(b json.RawMessage) ([]adapter.Description, error) {
	var list []wireSocket
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, err
	}
	all := make([]adapter.Description, len(list))
	for i, w := range list {
		all[i] = w.description()
	}
	return all, nil
}
