// Package frame reads the headers of frames (RFC 6455, 5.2), strictly, for a server.
package frame

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/chaussette/chaussette/ws"
)

// Opcode is what a frame is.
type Opcode byte

// The opcodes (RFC 6455, 11.8).
const (
	Continuation Opcode = 0
	Text         Opcode = 1
	Binary       Opcode = 2
	Close        Opcode = 8
	Ping         Opcode = 9
	Pong         Opcode = 10
)

// Control reports whether the frame is a control frame.
func (o Opcode) Control() bool { return o&8 != 0 }

// MaxHeader is the longest header of a masked frame, in bytes.
const MaxHeader = 14

// Header is the header of one masked frame.
type Header struct {
	Fin        bool
	Compressed bool // RSV1, as permessage-deflate has it (RFC 7692, 6)
	Opcode     Opcode
	Length     int64
	Mask       [4]byte
}

// Rules are what a header has to obey besides the RFC's frame syntax.
type Rules struct {
	Compression bool // permessage-deflate was negotiated
	InMessage   bool // the last frame of a message has not come yet
}

// Parse reads the header that b begins with. Size is its length, 0 if b has not all of
// it. What is wrong is found with the first byte that shows it: the error is one of
// ws's ProtocolErrors.
func Parse(b []byte, rules Rules) (h Header, size int, err error) {
	if len(b) == 0 {
		return h, 0, nil
	}
	first := b[0]
	h.Fin = first&0x80 != 0
	h.Compressed = first&0x40 != 0
	h.Opcode = Opcode(first & 0x0F)
	switch {
	case first&0x30 != 0, h.Compressed && !rules.Compression:
		return h, 0, ws.ErrReservedBits
	case h.Opcode > Pong || h.Opcode > Binary && h.Opcode < Close:
		return h, 0, ws.ErrReservedOpcode
	case h.Opcode.Control():
		if !h.Fin {
			return h, 0, ws.ErrFragmentedControl
		}
		if h.Compressed {
			return h, 0, ws.ErrCompressedControl
		}
	case h.Opcode == Continuation:
		if !rules.InMessage {
			return h, 0, ws.ErrNoFirstFrame
		}
		if h.Compressed {
			return h, 0, ws.ErrCompressedControl
		}
	case rules.InMessage:
		return h, 0, ws.ErrUnfinishedMessage
	}
	if len(b) < 2 {
		return h, 0, nil
	}
	if b[1]&0x80 == 0 {
		return h, 0, ws.ErrUnmasked
	}
	length := b[1] & 0x7F
	if length > 125 && h.Opcode.Control() {
		return h, 0, ws.ErrControlTooLong
	}
	size = 2
	switch length {
	case 126:
		if size = 4; len(b) < size {
			return h, 0, nil
		}
		if h.Length = int64(binary.BigEndian.Uint16(b[2:])); h.Length < 126 {
			return h, 0, ws.ErrLengthNotMinimal
		}
	case 127:
		if len(b) > 2 && b[2]&0x80 != 0 {
			return h, 0, ws.ErrLengthTopBit
		}
		if size = 10; len(b) < size {
			return h, 0, nil
		}
		if h.Length = int64(binary.BigEndian.Uint64(b[2:])); h.Length < 1<<16 {
			return h, 0, ws.ErrLengthNotMinimal
		}
	default:
		h.Length = int64(length)
	}
	if len(b) < size+4 {
		return h, 0, nil
	}
	copy(h.Mask[:], b[size:])
	return h, size + 4, nil
}

// ParseClose reads the payload of a close frame (RFC 6455, 5.5.1). Without one the code
// is ws.StatusNone. The error is a ws.ProtocolError, or ws.ErrInvalidUTF8.
func ParseClose(p []byte) (code ws.StatusCode, reason string, err error) {
	switch {
	case len(p) == 0:
		return ws.StatusNone, "", nil
	case len(p) == 1:
		return 0, "", ws.ErrClosePayload
	}
	code = ws.StatusCode(binary.BigEndian.Uint16(p))
	if !code.Sendable() {
		return 0, "", ws.ErrInvalidStatusCode
	}
	reason = string(p[2:])
	if !utf8.ValidString(reason) {
		return 0, "", ws.ErrInvalidUTF8
	}
	return code, reason, nil
}

// AppendClosePayload appends what is in a close frame: nothing for StatusNone.
func AppendClosePayload(b []byte, code ws.StatusCode, reason string) []byte {
	if code == ws.StatusNone {
		return b
	}
	return append(binary.BigEndian.AppendUint16(b, uint16(code)), reason...)
}
