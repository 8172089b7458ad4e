package gorilla

import (
	"errors"
	"fmt"

	cipher "github.com/gobwas/ws"

	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/internal/frame"
)

// guard looks at the frames on their way to the library, for what the library does not
// check: reserved bits on frames that cannot have them, lengths that are not minimal or
// have their top bit set, close frames with one byte, messages past the limit before
// they are read. Close frames end at the guard, since the library tells an empty one
// and a broken one not apart, and has no word of code 1014.
type guard struct {
	compression bool
	max         int64 // bytes in a message, as they travel; 0: no limit

	inMessage bool
	size      int64 // of the message so far
	head      [frame.MaxHeader]byte
	headLen   int
	length    int64 // of the frame whose payload comes
	left      int64 // of its payload

	closing  bool // a close frame comes
	mask     [4]byte
	payload  [125]byte
	closeLen int
	code     ws.StatusCode // of the close frame
	reason   string
	end      error // why nothing more goes to the library
}

// errCloseFrame is the end of a stream with a close frame.
var errCloseFrame = errors.New("close frame")

// look reports how much of p may go to the library. After that comes what end says, if it
// is not nil.
func (g *guard) look(p []byte) (good int, end error) {
	at := 0
	for at < len(p) {
		if g.closing {
			g.gather(p[at:])
			return good, g.end
		}
		if g.left > 0 {
			n := min(g.left, int64(len(p)-at))
			g.left -= n
			at += int(n)
			good = at
			continue
		}
		had := g.headLen
		g.headLen += copy(g.head[had:], p[at:])
		h, size, err := frame.Parse(g.head[:g.headLen], frame.Rules{Compression: g.compression, InMessage: g.inMessage})
		if err == nil && size > 0 {
			err = g.limit(h)
		}
		if err != nil {
			g.end = err
			return good, err
		}
		if size == 0 {
			// The library gets the part that has come, unless it may be a close frame's.
			if frame.Opcode(g.head[0]&0x0F) == frame.Close {
				return good, nil
			}
			return len(p), nil
		}
		at += size - had
		g.headLen = 0
		if h.Opcode == frame.Close {
			g.closing, g.mask, g.length = true, h.Mask, h.Length
			g.gather(p[at:])
			return good, g.end
		}
		if !h.Opcode.Control() {
			g.inMessage = !h.Fin
		}
		g.left = h.Length
		good = at
	}
	return good, nil
}

// limit counts the bytes of a message.
func (g *guard) limit(h frame.Header) error {
	if h.Opcode.Control() {
		return nil
	}
	if h.Opcode != frame.Continuation {
		g.size = 0
	}
	if g.max > 0 && h.Length > g.max-g.size {
		return tooBig(g.max)
	}
	g.size += h.Length
	return nil
}

func tooBig(max int64) error {
	return fmt.Errorf("%w of %d bytes (see --max-message-size)", ws.ErrMessageTooBig, max)
}

// gather takes the payload of a close frame.
func (g *guard) gather(p []byte) {
	g.closeLen += copy(g.payload[g.closeLen:g.length], p)
	if int64(g.closeLen) < g.length {
		return
	}
	payload := g.payload[:g.closeLen]
	cipher.Cipher(payload, g.mask, 0)
	if g.code, g.reason, g.end = frame.ParseClose(payload); g.end == nil {
		g.end = errCloseFrame
	}
}
