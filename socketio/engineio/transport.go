package engineio

import "net/http"

// transport carries what a Session sends when it is not on polling. Its methods may be
// called from any goroutine, and with the session's mu held; none waits for the client.
type transport interface {
	name() TransportName
	// sendPrepared and control are those of s, which is on this transport or comes to it.
	// What is too much ends the session.
	sendPrepared(s *Session, p *Prepared) error
	control(s *Session, p packet)
	// waits tells whether something has not left yet.
	waits() bool
	remoteAddr() string
	// request is that of the handshake, where Session.head is nil.
	request() *http.Request
	// close closes in peace: what was sent before still goes out.
	close(reason Reason)
	// giveUp closes a transport that has not been taken.
	giveUp(why string)
}

// sendOn sends messages, with nothing of others between them. It is no method of transport,
// through which every Session.Send would have its arguments on the heap.
func (s *Session) sendOn(conn transport, messages []Message) error {
	if c, ok := conn.(webSocket); ok {
		return c.send(s, messages)
	}
	return conn.(*webTransport).send(messages)
}
