// Package nats is the adapter of workers on several machines that share a NATS server (or
// a cluster of them).
//
//	broker, err := nats.Open("nats://bus.example.com:4222", nil)
//	if err != nil { ... }
//	defer broker.Close()
//	io := socketio.NewServer(&socketio.Options{Adapter: broker.Factory})
//
// The URL is that of nats.go: nats:// or tls://, with user and password or a token, several
// separated by commas. Two parameters may follow:
//
//	prefix  what the names of the subjects begin with; socketio if it is not there
//	creds   a file with the credentials of a user
//
// # On the wire
//
// It carries the messages of package cluster between workers of this server. N is the
// namespace in base64url:
//
//	prefix.N.all        to all workers that have the namespace
//	prefix.N.to.WORKER  to one
//	prefix.beat         each worker is there; one that is not heard of three times has gone
//
// A message is a byte for the version, 3, and one that says what it is; the name of the
// sender; a list of tags; and for say a message of package cluster. Strings have their
// length before them, and lists their count, as unsigned varints.
//
//	enter  the sender has this namespace, and wants to hear who has it as well
//	here   the answer
//	leave  not any more
//	beat   the sender is there
//	say    a message; the tags are those of the sender's siblings that have it already
//
// The workers on one socket have their own way to one another, and what a worker sends
// crosses the network once. The name of a worker is that of the group of siblings and its
// tag, so that siblings know one another by either way.
//
// What is emitted while NATS is away stays on the machine, is counted, and the log says
// so. It is not sent later.
package nats
