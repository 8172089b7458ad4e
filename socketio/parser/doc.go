// Package parser turns Socket.IO packets into messages and back, for each revision of the
// protocol. It does no I/O.
//
// A [Packet] is the same for all revisions: what an app sent, as JSON, with the binary
// parts lifted out of it. Nobody needs to look into the JSON to pass it on.
//
//	var p parser.Packet
//	d := parser.V5.NewDecoder(nil)
//	done, err := d.Decode(parser.Message{Data: []byte(`2["say","hello"]`)}, &p)
//
// The revisions:
//
//	V09      protocol 1, spoken by socket.io-client 0.9: type:id:endpoint:data
//	V4       protocols 3 and 4, socket.io-client 1 and 2, on Engine.IO 3
//	V5       protocol 5, socket.io-client 3 and 4, on Engine.IO 4
//	Msgpack  protocol 5 in MessagePack, as socket.io-msgpack-parser speaks it
//
// V4 and V5 have one format (https://github.com/socketio/socket.io-protocol):
//
//	<type>[<number of attachments>-][<namespace>,][<ack id>][<JSON>]
//
// followed by a binary message for each attachment. In the JSON its place is held by
// {"_placeholder":true,"num":<which>}.
package parser
