package engineio

import "strconv"

// Message is what an app sends and receives.
type Message struct {
	Data   []byte
	Binary bool // or text, in UTF-8
	// Uncompressed says that it is sent as it is: a WebSocket does not deflate it, and the
	// answer to a poll that brings nothing else is not gzipped. One that comes never has it.
	Uncompressed bool
}

// PacketType is the first character of a packet.
type PacketType byte

// The types of packets.
const (
	PacketOpen    PacketType = '0'
	PacketClose   PacketType = '1'
	PacketPing    PacketType = '2'
	PacketPong    PacketType = '3'
	PacketMessage PacketType = '4'
	PacketUpgrade PacketType = '5'
	PacketNoop    PacketType = '6'
)

func (t PacketType) String() string {
	switch t {
	case PacketOpen:
		return "open"
	case PacketClose:
		return "close"
	case PacketPing:
		return "ping"
	case PacketPong:
		return "pong"
	case PacketMessage:
		return "message"
	case PacketUpgrade:
		return "upgrade"
	case PacketNoop:
		return "noop"
	}
	return "PacketType(" + strconv.Itoa(int(t)) + ")"
}

// packet is one packet on its way.
type packet struct {
	typ PacketType
	Message
}

// Revision is a revision of the protocol.
type Revision byte

// The revisions that are served.
const (
	Revision09 Revision = 1 // the protocol of Socket.IO 0.9, which calls itself 1
	Revision3  Revision = 3
	Revision4  Revision = 4
)

func (r Revision) String() string {
	if r == Revision09 {
		return "0.9"
	}
	return strconv.Itoa(int(r))
}

// ParseRevision reads "0.9", "3" or "4".
func ParseRevision(s string) (Revision, bool) {
	for _, r := range []Revision{Revision09, Revision3, Revision4} {
		if r.String() == s {
			return r, true
		}
	}
	return 0, false
}

// SID names a Session. It begins with the tag of the worker that has the session. Who
// knows it can speak for the client: it is a secret between the two.
type SID string

// TransportName is a way to carry packets.
type TransportName string

// The transports. JSONP and, in 0.9, xhr-polling are Polling.
const (
	Polling      TransportName = "polling"
	WebSocket    TransportName = "websocket"
	WebTransport TransportName = "webtransport" // of revision 4
)

// Reason says why a Session ended, in the words of Node's server.
type Reason string

// Reasons for the end of a Session.
const (
	TransportClose Reason = "transport close"      // the client has gone
	TransportError Reason = "transport error"      // it broke the protocol, or its connection broke
	PingTimeout    Reason = "ping timeout"         // it was not heard of in time
	ParseError     Reason = "parse error"          // it sent what cannot be understood
	ForcedClose    Reason = "forced close"         // Session.Close
	ServerShutdown Reason = "server shutting down" // Server.Drain or Server.Close
)
