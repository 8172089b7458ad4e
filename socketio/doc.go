// Package socketio serves Socket.IO: events with acknowledgements, rooms and namespaces,
// for every client there is, from socket.io-client 0.9 to 4.
//
//	io := socketio.NewServer(nil)
//	io.OnConnect(func(s *socketio.Socket) { s.Join("lobby") })
//	io.On("say", func(s *socketio.Socket, text string) (int, error) {
//		return len(text), s.To("lobby").Emit("said", s.ID(), text)
//	})
//	http.ListenAndServe(":8080", io)
//
// A handler is a function with the types that it wants of the arguments. What it returns
// is the acknowledgement, and an error goes to the caller; see [Namespace.On].
//
// For one [Socket] handlers run one after another, in the order of what the client sent;
// different sockets run at the same time. A handler may block. One that takes a
// context.Context may also wait for an answer of its own client.
package socketio
