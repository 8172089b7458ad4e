// Package handover moves requests between the workers on one socket. A request that
// another worker has to serve, since the session it belongs to lives there, goes to it
// with its connection: the descriptor, and the bytes that were read already. What comes on
// that connection later, the rest of a body included, comes to that worker.
//
// Where the connection cannot move, as with TLS and HTTP/2, the request alone does: the
// other worker gets one end of a socket pair in place of a connection, and the request
// is proxied through it.
//
// A message is the client's address with its length before it (a varint; empty where the
// descriptor knows it), and then what was read of the connection: a request's head first.
package handover
