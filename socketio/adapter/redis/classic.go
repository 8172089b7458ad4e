package redis

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/parser"
)

// dialect is one of the two formats, for one namespace.
type dialect interface {
	// channels are what to subscribe to.
	channels() []channel
	// encode returns what to publish for e, and where. to is whom an answer is for.
	encode(e *envelope, to *envelope) (message, error)
	// decode understands what came; nil is nothing to us.
	decode(channel, payload string) (*envelope, error)
	// workers counts those that share the namespace, with this one.
	workers(ctx context.Context) (int, error)
}

// The types of requests and answers (@socket.io/redis-adapter, RequestType).
const (
	typeSockets = iota
	typeAllRooms
	typeRemoteJoin
	typeRemoteLeave
	typeRemoteDisconnect
	typeRemoteFetch
	typeServerSideEmit
	typeBroadcast
	typeBroadcastClientCount
	typeBroadcastAck
)

// classicDialect is what createAdapter speaks.
type classicDialect struct {
	broker    *Broker
	namespace string
	all       string // the channel of broadcasts
	requests  string
	responses string
}

func newClassic(b *Broker, namespace string) *classicDialect {
	p := b.config.prefix
	return &classicDialect{b, namespace, p + "#" + namespace + "#", p + "-request#" + namespace + "#", p + "-response#" + namespace + "#"}
}

func (d *classicDialect) channels() []channel {
	return []channel{
		{pattern, escape(d.all) + "*"}, {plain, d.requests}, {plain, d.responses}, {plain, d.responses + d.broker.uid + "#"},
	}
}

func (d *classicDialect) workers(ctx context.Context) (int, error) {
	return d.broker.link.subscribers(ctx, channel{plain, d.requests})
}

func (d *classicDialect) encode(e *envelope, to *envelope) (message, error) {
	switch e.kind {
	case broadcast:
		list := append(json.RawMessage{'['}, text(e.uid)...)
		for _, item := range []json.RawMessage{packetText(d.namespace, e.packet), text(e.wireOpts()), text(e.near.wire())} {
			list = append(append(list, ','), item...)
		}
		payload, err := parser.EncodeMsgpack(parser.Raw{JSON: append(list, ']'), Attachments: e.packet.Attachments})
		name := d.all
		if len(e.opts.Rooms) == 1 {
			name += string(e.opts.Rooms[0]) + "#"
		}
		return message{channel: name, payload: payload}, err
	case ask, join, leave, disconnect, fetch, allRooms, serverSide:
		return d.request(e)
	}
	return d.response(e, to)
}

var classicTypes = map[kind]int{
	ask: typeBroadcast, join: typeRemoteJoin, leave: typeRemoteLeave, disconnect: typeRemoteDisconnect,
	fetch: typeRemoteFetch, allRooms: typeAllRooms, serverSide: typeServerSideEmit,
}

func (d *classicDialect) request(e *envelope) (message, error) {
	var o object
	o.value("uid", e.uid)
	if e.request != "" {
		o.value("requestId", e.request)
	}
	o.value("type", classicTypes[e.kind])
	whole := parser.Raw{}
	switch e.kind {
	case ask:
		o.field("packet", packetText(d.namespace, e.packet))
		o.value("opts", e.wireOpts())
		whole.Attachments = e.packet.Attachments
	case join, leave:
		o.value("opts", e.wireOpts())
		o.value("rooms", roomList(e.rooms))
	case disconnect:
		o.value("opts", e.wireOpts())
		o.value("close", e.closing)
	case fetch:
		o.value("opts", e.wireOpts())
	case serverSide:
		o.field("data", e.packet.JSON)
	}
	o.value("near", e.near.wire())
	whole.JSON = o.end()
	var payload []byte
	var err error
	if e.kind == ask { // always, whether there is binary or not
		payload, err = parser.EncodeMsgpack(whole)
	} else {
		payload, err = encode(whole)
	}
	return message{channel: d.requests, payload: payload}, err
}

func (d *classicDialect) response(e *envelope, to *envelope) (message, error) {
	var o object
	o.value("requestId", e.request)
	whole := parser.Raw{}
	switch e.kind {
	case fetched:
		o.field("sockets", socketsText(e.sockets))
	case rooms:
		name := "rooms"
		if to.kind == fetchIDs {
			name = "sockets"
		}
		o.value(name, roomList(e.rooms))
	case serverSided:
		o.value("type", typeServerSideEmit)
		if len(e.packet.JSON) > 0 {
			o.field("data", e.packet.JSON)
		}
	case counted:
		o.value("type", typeBroadcastClientCount)
		o.value("clientCount", e.count)
	case acked:
		o.value("type", typeBroadcastAck)
		if len(e.packet.JSON) > 0 {
			o.field("packet", e.packet.JSON)
		}
		whole.Attachments = e.packet.Attachments
	case done:
	}
	if e.skipped {
		o.value("skipped", true)
	}
	whole.JSON = o.end()
	var payload []byte
	var err error
	if e.kind == acked {
		payload, err = parser.EncodeMsgpack(whole)
	} else {
		payload, err = encode(whole)
	}
	// Node's workers listen to a channel of their own from version 7 on only.
	name := d.responses
	if to.ours {
		name += to.uid + "#"
	}
	return message{channel: name, payload: payload}, err
}

func (d *classicDialect) decode(name, payload string) (*envelope, error) {
	switch {
	case name == d.requests:
		return d.decodeRequest(payload)
	case strings.HasPrefix(name, d.responses):
		return d.decodeResponse(payload)
	case strings.HasPrefix(name, d.all):
		return d.decodeBroadcast(payload)
	}
	return nil, nil
}

func (d *classicDialect) decodeBroadcast(payload string) (*envelope, error) {
	whole, err := parser.DecodeMsgpack([]byte(payload), &limits)
	if err != nil {
		return nil, err
	}
	if whole.JSON[0] != '[' {
		return nil, fmt.Errorf("a broadcast that is no array")
	}
	list := parser.Elements(whole.JSON)
	if len(list) < 2 {
		return nil, fmt.Errorf("a broadcast of %d elements", len(list))
	}
	e := &envelope{kind: broadcast}
	var packet wirePacket
	var opts wireOpts
	var near wireNear
	for i, v := range []any{&e.uid, &packet, &opts, &near} {
		if i < len(list) {
			if err := json.Unmarshal(list[i], v); err != nil {
				return nil, err
			}
		}
	}
	if e.uid == d.broker.uid {
		return nil, nil
	}
	if packet.Namespace == nil {
		packet.Namespace = new(string)
		*packet.Namespace = "/"
	}
	if *packet.Namespace != d.namespace {
		return nil, nil // another namespace has a name that the pattern matches
	}
	e.opts, e.uncompressed, e.near = opts.opts(), opts.uncompressed(), near.near()
	e.packet, err = packet.packetOf(whole, d.namespace)
	return e, err
}

// classicRequest has the fields of all types.
type classicRequest struct {
	UID     string          `json:"uid"`
	Request string          `json:"requestId"`
	Type    *int            `json:"type"`
	Opts    *wireOpts       `json:"opts"`
	Rooms   roomList        `json:"rooms"`
	Close   bool            `json:"close"`
	Data    json.RawMessage `json:"data"`
	Packet  wirePacket      `json:"packet"`
	Near    *wireNear       `json:"near"`
	// Of versions before 6.
	SID  string `json:"sid"`
	Room string `json:"room"`
}

func (d *classicDialect) decodeRequest(payload string) (*envelope, error) {
	whole, err := decode(payload)
	if err != nil {
		return nil, err
	}
	var r classicRequest
	if err := json.Unmarshal(whole.JSON, &r); err != nil {
		return nil, err
	}
	if r.Type == nil {
		return nil, fmt.Errorf("a request without a type")
	}
	if r.UID == d.broker.uid {
		return nil, nil
	}
	e := &envelope{uid: r.UID, request: r.Request, rooms: r.Rooms, closing: r.Close}
	if r.Near != nil {
		e.ours, e.near = true, r.Near.near()
	}
	if r.Opts != nil {
		e.opts, e.uncompressed = r.Opts.opts(), r.Opts.uncompressed()
	}
	answered := false
	switch *r.Type {
	case typeSockets:
		e.kind, answered = fetchIDs, true
		e.opts = adapter.Opts{Rooms: r.Rooms}
	case typeAllRooms:
		e.kind, answered = allRooms, true
	case typeRemoteJoin, typeRemoteLeave, typeRemoteDisconnect:
		e.kind = []kind{join, leave, disconnect}[*r.Type-typeRemoteJoin]
		if r.Opts == nil {
			if r.SID == "" {
				return nil, fmt.Errorf("a request for nobody")
			}
			e.opts, e.rooms = adapter.Opts{Rooms: []adapter.Room{adapter.Room(r.SID)}}, []adapter.Room{adapter.Room(r.Room)}
		} else {
			e.request = ""
		}
	case typeRemoteFetch:
		e.kind, answered = fetch, true
	case typeServerSideEmit:
		e.kind = serverSide
		e.packet, err = eventOf(whole, r.Data)
	case typeBroadcast:
		e.kind, answered = ask, true
		e.packet, err = r.Packet.packetOf(whole, d.namespace)
	default:
		return nil, nil // of a version to come
	}
	if err == nil && answered && e.request == "" {
		err = fmt.Errorf("a request without a number")
	}
	return e, err
}

// classicResponse has the fields of all types.
type classicResponse struct {
	Request string          `json:"requestId"`
	Type    *int            `json:"type"`
	Sockets json.RawMessage `json:"sockets"`
	Rooms   roomList        `json:"rooms"`
	Data    json.RawMessage `json:"data"`
	Count   int             `json:"clientCount"`
	Packet  json.RawMessage `json:"packet"`
	Skipped bool            `json:"skipped"`
}

func (d *classicDialect) decodeResponse(payload string) (*envelope, error) {
	whole, err := decode(payload)
	if err != nil {
		return nil, err
	}
	var known struct {
		Request string `json:"requestId"`
	}
	if err := json.Unmarshal(whole.JSON, &known); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(known.Request, d.broker.uid) {
		return nil, nil // that of somebody else
	}
	var r classicResponse
	if err := json.Unmarshal(whole.JSON, &r); err != nil {
		return nil, err
	}
	e := &envelope{request: r.Request, skipped: r.Skipped}
	switch {
	case r.Type == nil && len(r.Sockets) > 0:
		e.kind = fetched
		e.sockets, err = socketsOf(r.Sockets)
	case r.Type == nil:
		e.kind, e.rooms = rooms, r.Rooms
	case *r.Type == typeServerSideEmit:
		e.kind = serverSided
		e.packet, err = partOf(whole, r.Data)
	case *r.Type == typeBroadcastClientCount:
		e.kind, e.count = counted, r.Count
	case *r.Type == typeBroadcastAck:
		e.kind = acked
		e.packet, err = partOf(whole, r.Packet)
	default:
		return nil, nil
	}
	return e, err
}
