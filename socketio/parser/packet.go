package parser

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Type says what a Packet is for. The values are those of protocol 5.
type Type byte

// The types of packets. On the wire of V4 and V5 an Event or Ack with attachments has a
// type of its own, 5 and 6; here the attachments tell.
const (
	Connect      Type = 0 // the client joins a namespace; the server's answer
	Disconnect   Type = 1 // either side leaves a namespace
	Event        Type = 2
	Ack          Type = 3
	ConnectError Type = 4 // the server refuses a Connect
)

func (t Type) String() string {
	switch t {
	case Connect:
		return "CONNECT"
	case Disconnect:
		return "DISCONNECT"
	case Event:
		return "EVENT"
	case Ack:
		return "ACK"
	case ConnectError:
		return "CONNECT_ERROR"
	}
	return "Type(" + strconv.Itoa(int(t)) + ")"
}

// Packet is what Socket.IO sends: to or from one namespace.
type Packet struct {
	Type Type
	// Namespace begins with a slash; empty means "/".
	Namespace string
	// Query is what clients of V4 and V09 append to the namespace of a Connect: the
	// parameters without the question mark.
	Query string
	// HasID says that there is an ID: an Event wants to be acknowledged under it, an Ack
	// answers it.
	HasID bool
	ID    uint64
	// Data is JSON. For an Event an array of the event's name and its arguments, for an
	// Ack an array of arguments, for Connect and ConnectError an object or nothing.
	Data []byte
	// Attachments are the binary parts, for which placeholders stand in Data.
	Attachments [][]byte
}

// Message is what one packet becomes on the way: a text or a binary message.
type Message struct {
	Data   []byte
	Binary bool
}

// Parser is one format of packets. Its methods may be called from any goroutine.
type Parser interface {
	// Encode returns the messages that p becomes, which are sent in this order with
	// nothing between them. They are the caller's, but may alias p.
	Encode(p *Packet) ([]Message, error)
	// NewDecoder returns a decoder for the messages of one peer. Nil means the defaults.
	NewDecoder(l *Limits) Decoder
	// String names the format.
	String() string
}

// Decoder puts the messages of one peer together to packets. One goroutine at a time may
// use it.
type Decoder interface {
	// Decode takes the next message. If it completes a packet, p is filled in and done is
	// true. What p then holds may alias m.Data and earlier messages: they are the
	// decoder's from the call on.
	//
	// After an error the peer cannot be understood any more, and its session is to be
	// closed. Errors are a *SyntaxError.
	Decode(m Message, p *Packet) (done bool, err error)
}

// Limits bound what a decoder accepts. The zero value means the defaults.
type Limits struct {
	// Attachments of one packet; 0 means 256.
	Attachments int
	// Bytes of one packet, all its attachments included; 0 means 16 MiB.
	Bytes int
	// Depth of nested arrays and objects; 0 means 128.
	Depth int
}

func (l *Limits) withDefaults() Limits {
	var w Limits
	if l != nil {
		w = *l
	}
	if w.Attachments == 0 {
		w.Attachments = 256
	}
	if w.Bytes == 0 {
		w.Bytes = 16 << 20
	}
	if w.Depth == 0 {
		w.Depth = 128
	}
	return w
}

// SyntaxError is what a peer did wrong. Errors of one kind compare equal by errors.Is.
type SyntaxError struct {
	Kind   error  // one of the Err variables
	Detail string // where, or what was there instead
}

func (e *SyntaxError) Error() string {
	if e.Detail == "" {
		return "socket.io packet: " + e.Kind.Error()
	}
	return "socket.io packet: " + e.Kind.Error() + ": " + e.Detail
}

func (e *SyntaxError) Unwrap() error { return e.Kind }

// Kinds of SyntaxError.
var (
	ErrType         = errors.New("unknown type")
	ErrFormat       = errors.New("not in the format of this protocol")
	ErrJSON         = errors.New("invalid JSON")
	ErrDepth        = errors.New("nested too deep")
	ErrPayload      = errors.New("payload does not fit the type")
	ErrReserved     = errors.New("reserved event name")
	ErrPlaceholder  = errors.New("placeholder without attachment")
	ErrAttachments  = errors.New("too many attachments")
	ErrNotPromised  = errors.New("binary message that no packet promised")
	ErrNotDelivered = errors.New("attachments promised and not sent")
	ErrTooLarge     = errors.New("packet too large")
)

func syntax(kind error, format string, args ...any) error {
	return &SyntaxError{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// maxID is the largest id that every client can count to: they are JavaScript numbers.
const maxID = 1<<53 - 1

// reserved are the names that Socket.IO's clients emit themselves; a packet with one of
// them pretends to be what it is not.
func reserved(event string) bool {
	switch event {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return true
	}
	return false
}

// Reserved reports whether apps may not send events of this name.
func Reserved(event string) bool { return reserved(event) }

// EventName returns the name of the event in the data of an Event, and the arguments.
func EventName(data []byte) (name string, args []json.RawMessage, err error) {
	all := Elements(data)
	if len(all) == 0 {
		return "", nil, syntax(ErrPayload, "an event without a name")
	}
	name, err = nameOf(all[0])
	return name, all[1:], err
}

func nameOf(raw json.RawMessage) (string, error) {
	if len(raw) >= 2 && raw[0] == '"' {
		if s, ok := plainString(raw); ok {
			return s, nil
		}
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return "", syntax(ErrJSON, "%v", err)
		}
		return s, nil
	}
	// A page may emit(1, ...): the name is the number's text, as in JavaScript.
	if len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9') {
		return string(raw), nil
	}
	return "", syntax(ErrPayload, "an event's name is a string")
}

// plainString decodes a JSON string that has no escapes.
func plainString(raw []byte) (string, bool) {
	for _, c := range raw[1 : len(raw)-1] {
		if c == '\\' {
			return "", false
		}
	}
	return string(raw[1 : len(raw)-1]), true
}

// check tells whether the payload fits the packet's type. data has been scanned.
func (p *Packet) check() error {
	switch p.Type {
	case Connect:
		if len(p.Data) > 0 && p.Data[0] != '{' {
			return syntax(ErrPayload, "what comes with CONNECT is an object")
		}
	case Disconnect:
		if len(p.Data) > 0 {
			return syntax(ErrPayload, "DISCONNECT has none")
		}
	case Event:
		if len(p.Data) == 0 || p.Data[0] != '[' {
			return syntax(ErrPayload, "an event is an array")
		}
		first, ok := firstElement(p.Data)
		if !ok {
			return syntax(ErrPayload, "an event without a name")
		}
		name, err := nameOf(first)
		if err != nil {
			return err
		}
		if reserved(name) {
			return syntax(ErrReserved, "%q", name)
		}
	case Ack:
		if !p.HasID {
			return syntax(ErrPayload, "an ack without an id")
		}
		if len(p.Data) == 0 || p.Data[0] != '[' {
			return syntax(ErrPayload, "an ack is an array")
		}
	case ConnectError:
		if len(p.Data) > 0 && p.Data[0] != '{' && p.Data[0] != '"' {
			return syntax(ErrPayload, "what comes with CONNECT_ERROR is an object or a string")
		}
	default:
		return syntax(ErrType, "%d", p.Type)
	}
	if len(p.Attachments) > 0 && p.Type != Event && p.Type != Ack {
		return syntax(ErrPayload, "%v has no attachments", p.Type)
	}
	return nil
}

func (p *Packet) namespace() string {
	if p.Namespace == "" {
		return "/"
	}
	return p.Namespace
}
