package ws

import (
	"errors"
	"fmt"
	"net"
)

// CloseError says how a connection ended. Every call on a Conn that has ended returns
// one; errors.Is(err, net.ErrClosed) holds for it.
type CloseError struct {
	// Code and Reason are those of the first close frame, the peer's or ours;
	// StatusAbnormal if the connection was lost before there was one, StatusNone if the
	// peer's had no code.
	Code   StatusCode
	Reason string
	// Local says that this side closed: the app, or the engine because of Err.
	Local bool
	// Err is what went wrong, nil if nothing did. It is for the log; the peer is told
	// Code and Reason only.
	Err error
}

func (e *CloseError) Error() string {
	who := "closed by the peer"
	if e.Local {
		who = "closed"
	}
	s := fmt.Sprintf("websocket %s: %s", who, e.Code)
	if e.Reason != "" {
		s += fmt.Sprintf(" (%q)", e.Reason)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Is makes every CloseError a net.ErrClosed.
func (e *CloseError) Is(target error) bool { return target == net.ErrClosed }

func (e *CloseError) Unwrap() error { return e.Err }

// CloseStatus returns the code of a CloseError in err's chain, or 0.
func CloseStatus(err error) StatusCode {
	if e, ok := errors.AsType[*CloseError](err); ok {
		return e.Code
	}
	return 0
}

// Errors that say why an engine closed a connection (CloseError.Err), or why a message
// was not sent.
var (
	// ErrQueueFull: the peer does not read fast enough, and the message did not fit into
	// the queue (Config.MaxQueue). With OverflowDrop the message is lost and the
	// connection goes on; with OverflowClose the connection is closed with
	// StatusTryAgainLater.
	ErrQueueFull = errors.New("write queue is full: the peer reads too slowly")
	// ErrMessageTooBig: the peer sent more than Config.MaxMessageSize; closed with
	// StatusMessageTooBig.
	ErrMessageTooBig = errors.New("message is larger than the limit")
	// ErrPongTimeout: the peer did not answer a ping in time.
	ErrPongTimeout = errors.New("no pong in time")
	// ErrCloseTimeout: the peer did not answer the close frame in time.
	ErrCloseTimeout = errors.New("no close frame in time")
	// ErrInvalidUTF8: a text message or a close reason was not UTF-8; closed with
	// StatusInvalidPayload.
	ErrInvalidUTF8 = errors.New("text is not valid UTF-8")
	// ErrUnexpectedEOF: the peer ended the TCP connection without a close frame.
	ErrUnexpectedEOF = errors.New("connection ended without a close frame")
)

// ProtocolError is what a peer did against RFC 6455 or RFC 7692; the connection is closed
// with StatusProtocolError and this text as the reason. Its values can be compared.
type ProtocolError string

func (e ProtocolError) Error() string { return "websocket protocol: " + string(e) }

// The violations that engines report.
const (
	ErrReservedOpcode    ProtocolError = "reserved opcode"
	ErrReservedBits      ProtocolError = "reserved bits set"
	ErrUnmasked          ProtocolError = "frame is not masked"
	ErrFragmentedControl ProtocolError = "fragmented control frame"
	ErrControlTooLong    ProtocolError = "control frame longer than 125 bytes"
	ErrNoFirstFrame      ProtocolError = "continuation without a first frame"
	ErrUnfinishedMessage ProtocolError = "new message inside of a fragmented one"
	ErrLengthNotMinimal  ProtocolError = "length is not encoded minimally"
	ErrLengthTopBit      ProtocolError = "length has its top bit set"
	ErrClosePayload      ProtocolError = "close frame with one byte"
	ErrInvalidStatusCode ProtocolError = "invalid close code"
	ErrCompressedControl ProtocolError = "compressed control frame or continuation"
	ErrCompressed        ProtocolError = "message does not decompress"
)
