// Package gorilla is the WebSocket engine of `--backend websocket`: gorilla/websocket on
// the connections of net/http, a goroutine for each connection that is read.
//
// Between the library and the network stands a stream of ours. It never blocks a writer,
// but queues what the socket does not take, so that one slow peer holds up nobody; and it
// looks at the frames that come in, for RFC 6455 asks for some things that the library
// does not check.
package gorilla
