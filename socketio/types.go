package socketio

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/engineio"
	"github.com/chaussette/chaussette/socketio/parser"
)

// SocketID names a socket. It is no secret: clients see one another's.
type SocketID = adapter.SocketID

// Room names a set of sockets of a namespace. Each is alone in the room of its own id.
type Room = adapter.Room

// Raw is an argument that nobody has looked into. In a handler's parameters or in Emit it
// passes what came, binary included.
type Raw = parser.Raw

// Args are the arguments of an event or an acknowledgement.
type Args []Raw

// Decode decodes the arguments into what the pointers point to. Where there are fewer
// arguments the rest is left as it is; more are ignored.
func (a Args) Decode(pointers ...any) error {
	for i, p := range pointers {
		if i >= len(a) {
			return nil
		}
		if err := a[i].Unmarshal(p); err != nil {
			return fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	return nil
}

// argsOf splits a JSON array.
func argsOf(array []byte, attachments [][]byte) Args {
	elements := parser.Elements(array)
	args := make(Args, len(elements))
	for i, e := range elements {
		args[i] = Raw{JSON: e, Attachments: attachments}
	}
	return args
}

// Reason says why a socket was disconnected, in the words of Node's server.
type Reason = engineio.Reason

// Reasons for a disconnect.
const (
	ClientDisconnect Reason = "client namespace disconnect" // the client left
	ServerDisconnect Reason = "server namespace disconnect" // Socket.Disconnect
	TransportClose          = engineio.TransportClose
	TransportError          = engineio.TransportError
	PingTimeout             = engineio.PingTimeout
	ParseError              = engineio.ParseError
	ForcedClose             = engineio.ForcedClose
	ServerShutdown          = engineio.ServerShutdown
)

// recoverable tells whether the client may come back and not know that it was away.
func recoverable(r Reason) bool {
	switch r {
	case TransportClose, TransportError, PingTimeout, ForcedClose, ServerShutdown:
		return true
	}
	return false
}

// Error is what a client is told: returned by a middleware in its connect_error, returned
// by a handler in the acknowledgement. Of other errors it is told the text.
type Error struct {
	Message string
	// Data is sent with it as JSON, if not nil.
	Data any
}

func (e *Error) Error() string { return e.Message }

// Errors of sending.
var (
	// ErrDisconnected: the socket has left, or left before it answered.
	ErrDisconnected = errors.New("socket.io: disconnected")
	// ErrReserved: the event has a name that the protocol uses itself.
	ErrReserved = errors.New("socket.io: reserved event name")
)

// connectError is the data of a CONNECT_ERROR packet.
func connectError(err error) []byte {
	body := struct {
		Message string `json:"message"`
		Data    any    `json:"data,omitempty"`
	}{Message: err.Error()}
	var e *Error
	if errors.As(err, &e) {
		body.Message, body.Data = e.Message, e.Data
	}
	data, failed := json.Marshal(body)
	if failed != nil {
		data, _ = json.Marshal(map[string]string{"message": body.Message})
	}
	return data
}

// ackError is what stands in place of a handler's results.
func ackError(err error) any {
	body := struct {
		Error string `json:"error"`
		Data  any    `json:"data,omitempty"`
	}{Error: err.Error()}
	var e *Error
	if errors.As(err, &e) {
		body.Error, body.Data = e.Message, e.Data
	}
	return body
}

// encodeEvent makes the data of an event.
func encodeEvent(event string, args []any) (data []byte, attachments [][]byte, err error) {
	if parser.Reserved(event) {
		return nil, nil, fmt.Errorf("%w: %q", ErrReserved, event)
	}
	all := make([]any, 0, 8)
	all = append(append(all, event), args...)
	data, attachments, err = parser.Marshal(all...)
	if err != nil {
		return nil, nil, fmt.Errorf("emit %q: %w", event, err)
	}
	return data, attachments, nil
}
