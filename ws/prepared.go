package ws

import (
	"encoding/binary"
	"sync"
)

// Prepared is what is sent to many connections, encoded once: a message, or a few that
// belong together and travel in one write. It may be used by any number of goroutines.
type Prepared struct {
	messages []Message // their Data lies in plain
	plain    []byte
	deflates bool // some of messages may be

	mu       sync.Mutex
	deflated map[deflateKey][]byte
}

type deflateKey struct{ windowBits, level, threshold int }

// NewPrepared encodes one message. p is copied.
func NewPrepared(typ MessageType, p []byte) *Prepared {
	return Prepare(Message{Type: typ, Data: p})
}

// Prepare encodes messages that are sent one after another, with nothing between them.
// What is empty, or of another type than Text and Binary, panics: it is the app's mistake.
func Prepare(messages ...Message) *Prepared {
	size := 0
	for _, m := range messages {
		if err := check(m.Type); err != nil {
			panic(err)
		}
		size += maxHeader + len(m.Data)
	}
	p := &Prepared{messages: make([]Message, len(messages)), plain: make([]byte, 0, size)}
	for i, m := range messages {
		p.plain = AppendHeader(p.plain, byte(m.Type), len(m.Data))
		begin := len(p.plain)
		p.plain = append(p.plain, m.Data...)
		p.messages[i] = Message{m.Type, p.plain[begin:len(p.plain):len(p.plain)], m.Uncompressed}
		p.deflates = p.deflates || !m.Uncompressed
	}
	return p
}

// Messages are what p was made of. They must not be changed.
func (p *Prepared) Messages() []Message { return p.messages }

// Frames returns p as frames for a connection with these parameters of permessage-deflate
// (nil: none). It is shared and must not be changed. Where the compressor of a connection
// has a context to take over, the frames are plain: a message compressed for everybody
// knows of none, and an uncompressed one is always allowed (RFC 7692, 6).
func (p *Prepared) Frames(d *DeflateParams) []byte {
	if d == nil || !d.ServerNoContextTakeover || !p.deflates {
		return p.plain
	}
	key := deflateKey{d.ServerMaxWindowBits, d.Level, d.Threshold}
	p.mu.Lock()
	defer p.mu.Unlock()
	frames, found := p.deflated[key]
	if !found {
		frames = p.compress(d)
		if p.deflated == nil {
			p.deflated = map[deflateKey][]byte{}
		}
		p.deflated[key] = frames
	}
	return frames
}

const maxHeader = 10 // of a frame that is not masked

// AppendHeader appends the header of a final frame that is not masked (RFC 6455, 5.2).
// The bits of a first byte that are set besides the opcode are kept.
func AppendHeader(b []byte, first byte, length int) []byte {
	const final = 0x80
	first |= final
	switch {
	case length < 126:
		return append(b, first, byte(length))
	case length < 1<<16:
		return append(b, first, 126, byte(length>>8), byte(length))
	}
	return binary.BigEndian.AppendUint64(append(b, first, 127), uint64(length))
}
