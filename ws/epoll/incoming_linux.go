package epoll

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"unicode/utf8"

	cipher "github.com/gobwas/ws"

	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/internal/deflate"
	"github.com/chaussette/chaussette/ws/internal/frame"
	"github.com/chaussette/chaussette/ws/internal/utf8stream"
)

// incoming is a frame or a message that has not come whole. A connection has one only as
// long as it needs it.
type incoming struct {
	head    [frame.MaxHeader]byte
	headLen int

	frame   frame.Header
	inFrame bool
	got     int64 // of the frame's payload

	control    [125]byte
	controlLen int

	inMessage  bool
	typ        ws.MessageType
	compressed bool
	message    []byte
	text       utf8stream.Checker
}

var incomings = sync.Pool{New: func() any { return new(incoming) }}

func newIncoming() *incoming { return incomings.Get().(*incoming) }

// keptMessage is the largest buffer that is kept for the next message.
const keptMessage = 64 << 10

func (in *incoming) release() {
	kept := in.message[:0]
	if cap(kept) > keptMessage {
		kept = nil
	}
	*in = incoming{message: kept}
	incomings.Put(in)
}

// feed takes what it can of b, and returns the rest. When nothing is left over from one
// frame or message, it takes itself off c.
func (in *incoming) feed(c *conn, b []byte) ([]byte, error) {
	if !in.inFrame {
		var err error
		if b, err = in.header(c, b); err != nil || !in.inFrame {
			return b, err
		}
	}
	n := min(int64(len(b)), in.frame.Length-in.got)
	part := b[:n]
	b = b[n:]
	cipher.Cipher(part, in.frame.Mask, int(in.got&3))
	in.got += n
	in.inFrame = in.got < in.frame.Length
	if in.frame.Opcode.Control() {
		in.controlLen += copy(in.control[in.controlLen:], part)
		if in.inFrame {
			return b, nil
		}
		if err := c.link.Control(in.frame.Opcode, in.control[:in.controlLen]); err != nil {
			return b, err
		}
	} else {
		if err := in.data(c, part); err != nil {
			return b, err
		}
	}
	if !in.inFrame && !in.inMessage {
		c.in = nil
		in.release()
	}
	return b, nil
}

// header gathers a frame's header.
func (in *incoming) header(c *conn, b []byte) ([]byte, error) {
	had := in.headLen
	in.headLen += copy(in.head[had:], b)
	rules := frame.Rules{Compression: c.link.Conn.Deflate() != nil, InMessage: in.inMessage}
	h, size, err := frame.Parse(in.head[:in.headLen], rules)
	if err != nil || size == 0 {
		return nil, err
	}
	b = b[size-had:]
	in.headLen, in.frame, in.got, in.inFrame = 0, h, 0, true
	if h.Opcode.Control() {
		in.controlLen = 0
		return b, nil
	}
	if h.Opcode != frame.Continuation {
		in.inMessage = true
		in.typ, in.compressed = ws.MessageType(h.Opcode), h.Compressed
		in.message, in.text = in.message[:0], utf8stream.Checker{}
	}
	if max := c.link.Config().MaxMessageSize; max > 0 && h.Length > max-int64(len(in.message)) {
		return b, tooBig(max)
	}
	return b, nil
}

func tooBig(max int64) error {
	return fmt.Errorf("%w of %d bytes (see --max-message-size)", ws.ErrMessageTooBig, max)
}

// data takes a part of a data frame's payload, unmasked.
func (in *incoming) data(c *conn, part []byte) error {
	if left := in.frame.Length - in.got; left > int64(cap(in.message)-len(in.message)-len(part)) {
		// What a header promises is not believed further than what has come.
		in.message = slices.Grow(in.message, len(part)+int(min(left, int64(len(in.message)+len(part)+keptMessage))))
	}
	in.message = append(in.message, part...)
	if in.typ == ws.Text && !in.compressed && !in.text.Write(part) {
		return ws.ErrInvalidUTF8
	}
	if in.inFrame || !in.frame.Fin {
		return nil
	}
	in.inMessage = false
	if in.compressed {
		return c.compressed(in.typ, in.message)
	}
	if in.typ == ws.Text && !in.text.Whole() {
		return ws.ErrInvalidUTF8
	}
	c.link.CallMessage(c.link.Handler(), in.typ, in.message)
	return nil
}

// whole takes a message that has come whole and uncompressed in one frame.
func (c *conn) whole(typ ws.MessageType, p []byte) error {
	if max := c.link.Config().MaxMessageSize; max > 0 && int64(len(p)) > max {
		return tooBig(max)
	}
	if typ == ws.Text && !utf8.Valid(p) {
		return ws.ErrInvalidUTF8
	}
	c.link.CallMessage(c.link.Handler(), typ, p)
	return nil
}

// windows are what a connection takes over from message to message.
type windows struct{ read, write []byte }

var inflated = sync.Pool{New: func() any { return new([]byte) }}

// compressed takes a message that was compressed.
func (c *conn) compressed(typ ws.MessageType, p []byte) error {
	params, max := c.link.Conn.Deflate(), c.link.Config().MaxMessageSize
	var window []byte
	if c.windows != nil {
		window = c.windows.read
	}
	buffer := inflated.Get().(*[]byte)
	message, err := deflate.Decompress((*buffer)[:0], p, max, window)
	defer func() {
		if *buffer = message; cap(message) > keptMessage {
			*buffer = nil
		}
		inflated.Put(buffer)
	}()
	switch {
	case errors.Is(err, deflate.ErrTooBig):
		return tooBig(max)
	case err != nil:
		return fmt.Errorf("%w: %w", ws.ErrCompressed, err)
	case typ == ws.Text && !utf8.Valid(message):
		return ws.ErrInvalidUTF8
	}
	if !params.ClientNoContextTakeover {
		c.io.Lock()
		if c.windows == nil {
			c.windows = &windows{}
		}
		c.windows.read = deflate.Slide(c.windows.read, message, params.ClientMaxWindowBits)
		c.io.Unlock()
	}
	c.link.CallMessage(c.link.Handler(), typ, message)
	return nil
}
