package ws

import "fmt"

// MessageType says what a message's payload is. The values are the opcodes of RFC 6455,
// 11.8.
type MessageType byte

// The types of messages.
const (
	Text   MessageType = 1 // UTF-8
	Binary MessageType = 2
)

func (t MessageType) String() string {
	switch t {
	case Text:
		return "text"
	case Binary:
		return "binary"
	}
	return fmt.Sprintf("MessageType(%d)", byte(t))
}

// Message is one message with its type.
type Message struct {
	Type MessageType
	Data []byte
	// Uncompressed messages are never deflated where they are sent as part of a Prepared,
	// whatever was negotiated: what is compressed already, or is secret beside what a
	// stranger chooses (RFC 7692, 8). Those that come do not have it set.
	Uncompressed bool
}
