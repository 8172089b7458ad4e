// Package handover moves connections between the workers on one socket. A request that
// another worker has to serve, since the session it belongs to lives there, goes to it
// with its connection: the descriptor, and the bytes that were read already. What comes on
// that connection later, the rest of a body included, comes to that worker.
//
// Where the connection cannot move, as with TLS and HTTP/2, the request alone does: the
// other worker gets one end of a socket pair in place of a connection, and the request
// is proxied through it.
//
// A stream, as WebTransport has them, is neither: [Exchange.GiveStream] returns one end of
// a socket pair, and the giver copies between that and the stream as long as it lasts.
//
// Who has a connection by its descriptor gives it by [Exchange.Give] to the worker that
// its request is for, and by [Exchange.Offer] to whoever has the fewest: one that is idle
// when the worker drains, or one too many. An HTTP server has [Exchange.Serve] and
// [Exchange.PassOn]. What siblings give is taken by [Exchange.Take], as descriptors, or by
// the Exchange as a net.Listener.
//
// # The wire
//
// A message is of the kind siblings.Connections, and begins with a byte that says what it
// is:
//
//	1  a connection for a session of the receiver
//	2  a connection for whoever has room, offered for the first time; 3 and 4 again
//	5  how busy the sender is, without a descriptor
//	6  one end of a pair, for a stream that belongs to a session of the receiver
//
// A connection goes on with the client's address with its length before it (a varint; empty
// where the descriptor knows it), and then what was read of it: a request's head first.
// How busy somebody is are two varints: its long-lived connections, and 1 where it takes
// more of them or 0 where it does not, since it drains.
package handover
