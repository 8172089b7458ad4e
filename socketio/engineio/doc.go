// Package engineio carries messages between a server and its clients, over what lets
// them through: HTTP long-polling, JSONP, WebSocket, WebTransport, and from the first to
// the others without losing a message. It is the ground of Socket.IO and stands on its own:
//
//	type echo struct{}
//
//	func (echo) Open(s *engineio.Session)                          {}
//	func (echo) Message(s *engineio.Session, m engineio.Message)   { s.Send(m) }
//	func (echo) Close(s *engineio.Session, reason engineio.Reason) {}
//
//	http.Handle("/engine.io/", engineio.NewServer(echo{}, nil))
//
// Revisions 3 and 4 of the protocol (https://github.com/socketio/engine.io-protocol) are
// served on one path. Below it, at 1/, the transports of Socket.IO 0.9 are, which was
// before Engine.IO: its packets are messages here, too.
//
// What a [Session] sends on the wire:
//
//	revision  long-polling                             WebSocket
//	4         packets separated by U+001E              a frame each; binary as it is
//	3         <length>:<packet>..., or in binary       a frame each; binary after a byte 4
//	0.9       U+FFFD <length> U+FFFD <packet>...       a frame each; no binary
//
// A packet is a digit, its type, and its data; binary among text is base64 after a b.
//
// On the stream of a WebTransport session, in revision 4 alone, each packet has a header
// as engine.io-parser's createPacketEncoderStream writes it:
//
//	bits     1        7              0, 16 or 64
//	         binary   length         length, where that of 7 bits is 126 or 127
//
// The bytes of a message that is binary come as they are. The first packet is the client's:
// 0 for a new session, or 0{"sid":"..."} to upgrade one from long-polling. What accepts
// such sessions is package webtransport; a [Server] is given their streams.
package engineio
