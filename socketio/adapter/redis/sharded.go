package redis

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/parser"
)

// The types of messages (socket.io-adapter, MessageType).
const (
	messageBroadcast = iota + 3
	messageSocketsJoin
	messageSocketsLeave
	messageDisconnectSockets
	messageFetchSockets
	messageFetchSocketsResponse
	messageServerSideEmit
	messageServerSideEmitResponse
	messageBroadcastClientCount
	messageBroadcastAck
)

// shardedDialect is what createShardedAdapter speaks.
type shardedDialect struct {
	broker    *Broker
	namespace string
	all       string // the channel of everything but answers
}

func newSharded(b *Broker, namespace string) *shardedDialect {
	return &shardedDialect{b, namespace, b.config.prefix + "#" + namespace + "#"}
}

func (d *shardedDialect) channels() []channel {
	return []channel{{shard, d.all}, {shard, d.all + d.broker.uid + "#"}}
}

// room is the channel of a room, if it has one.
func (d *shardedDialect) room(r adapter.Room) (channel, bool) {
	// Ids have 20 characters in Node, and no channel for each.
	own := d.broker.config.sharded == dynamicPrivate || d.broker.config.sharded == dynamic && len(r) != 20
	return channel{shard, d.all + string(r) + "#"}, own
}

func (d *shardedDialect) workers(ctx context.Context) (int, error) {
	return d.broker.link.subscribers(ctx, channel{shard, d.all})
}

var shardedTypes = map[kind]int{
	broadcast: messageBroadcast, ask: messageBroadcast, join: messageSocketsJoin, leave: messageSocketsLeave,
	disconnect: messageDisconnectSockets, fetch: messageFetchSockets, serverSide: messageServerSideEmit,
	fetched: messageFetchSocketsResponse, serverSided: messageServerSideEmitResponse,
	counted: messageBroadcastClientCount, acked: messageBroadcastAck,
}

func (d *shardedDialect) encode(e *envelope, to *envelope) (message, error) {
	var data object
	if e.request != "" {
		data.value("requestId", e.request)
	}
	whole := parser.Raw{}
	switch e.kind {
	case broadcast, ask:
		data.value("opts", e.wireOpts())
		data.field("packet", packetText(d.namespace, e.packet))
		whole.Attachments = e.packet.Attachments
	case join, leave:
		data.value("opts", e.wireOpts())
		data.value("rooms", roomList(e.rooms))
	case disconnect:
		data.value("opts", e.wireOpts())
		data.value("close", e.closing)
	case fetch:
		data.value("opts", e.wireOpts())
	case fetched:
		data.field("sockets", socketsText(e.sockets))
	case counted:
		data.value("clientCount", e.count)
	case serverSide:
		data.field("packet", e.packet.JSON)
	case serverSided, acked:
		if len(e.packet.JSON) > 0 {
			data.field("packet", e.packet.JSON)
		}
		whole.Attachments = e.packet.Attachments
	}
	var o object
	o.value("uid", d.broker.uid)
	o.value("nsp", d.namespace)
	o.value("type", shardedTypes[e.kind])
	o.field("data", data.end())
	name := d.all
	if to != nil {
		name += to.uid + "#"
		if e.skipped {
			o.value("skipped", true)
		}
	} else {
		o.value("near", e.near.wire())
	}
	whole.JSON = o.end()
	payload, err := encode(whole)
	return message{channel: name, payload: payload, shard: true}, err
}

// shardedMessage has the fields of all types.
type shardedMessage struct {
	UID  string `json:"uid"`
	Type int    `json:"type"`
	Data struct {
		Opts    wireOpts        `json:"opts"`
		Request string          `json:"requestId"`
		Packet  json.RawMessage `json:"packet"`
		Rooms   roomList        `json:"rooms"`
		Close   bool            `json:"close"`
		Sockets json.RawMessage `json:"sockets"`
		Count   int             `json:"clientCount"`
	} `json:"data"`
	Near    *wireNear `json:"near"`
	Skipped bool      `json:"skipped"`
}

func (d *shardedDialect) decode(_, payload string) (*envelope, error) {
	whole, err := decode(payload)
	if err != nil {
		return nil, err
	}
	var m shardedMessage
	if err := json.Unmarshal(whole.JSON, &m); err != nil {
		return nil, err
	}
	if m.UID == d.broker.uid {
		return nil, nil
	}
	e := &envelope{uid: m.UID, request: m.Data.Request, opts: m.Data.Opts.opts(), uncompressed: m.Data.Opts.uncompressed(), rooms: m.Data.Rooms, closing: m.Data.Close, skipped: m.Skipped}
	if m.Near != nil {
		e.ours, e.near = true, m.Near.near()
	}
	answers := false
	switch m.Type {
	case messageBroadcast:
		if e.kind = broadcast; e.request != "" {
			e.kind = ask
		}
		var packet wirePacket
		if err := json.Unmarshal(m.Data.Packet, &packet); err != nil {
			return nil, err
		}
		e.packet, err = packet.packetOf(whole, d.namespace)
	case messageSocketsJoin:
		e.kind, e.request = join, ""
	case messageSocketsLeave:
		e.kind, e.request = leave, ""
	case messageDisconnectSockets:
		e.kind, e.request = disconnect, ""
	case messageFetchSockets:
		if e.kind = fetch; e.request == "" {
			err = fmt.Errorf("a request without a number")
		}
	case messageServerSideEmit:
		e.kind = serverSide
		e.packet, err = eventOf(whole, m.Data.Packet)
	case messageFetchSocketsResponse:
		e.kind, answers = fetched, true
		e.sockets, err = socketsOf(m.Data.Sockets)
	case messageServerSideEmitResponse:
		e.kind, answers = serverSided, true
		e.packet, err = partOf(whole, m.Data.Packet)
	case messageBroadcastClientCount:
		e.kind, e.count, answers = counted, m.Data.Count, true
	case messageBroadcastAck:
		e.kind, answers = acked, true
		e.packet, err = partOf(whole, m.Data.Packet)
	default:
		return nil, nil // heartbeats, and what is to come
	}
	if answers && e.request == "" {
		return nil, fmt.Errorf("an answer to nothing")
	}
	if !answers && e.uid == "" && e.request != "" {
		return nil, fmt.Errorf("a request of nobody")
	}
	return e, err
}
