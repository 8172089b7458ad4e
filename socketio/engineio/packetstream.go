package engineio

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"unicode/utf8"
)

// Packets on a stream: those of revision 4, each with a header. See the package's comment.

// The header's first byte.
const (
	streamBinary = 0x80 // the rest is a message that is binary
	streamLong   = 126  // a length of 16 bits follows; one of 64 where it is one more
)

// errLength is of a header: a packet has a type, and is not larger than is said at the
// handshake.
var errLength = errors.New("packet without data, or larger than is allowed")

// appendHeader appends the header of a packet of n bytes.
func appendHeader(b []byte, n int, bits byte) []byte {
	switch {
	case n < streamLong:
		return append(b, byte(n)|bits)
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, streamLong|bits), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, streamLong+1|bits), uint64(n))
}

// appendPacket appends p as it goes on a stream.
func appendPacket(b []byte, p packet) []byte {
	switch {
	case !p.Binary:
		b = append(appendHeader(b, 1+len(p.Data), 0), byte(p.typ))
	case len(p.Data) == 0:
		// Nothing after a header is an error to engine.io-parser, also in what it has
		// written itself. In base64 it is a character.
		return append(appendHeader(b, 1, 0), 'b')
	default:
		b = appendHeader(b, len(p.Data), streamBinary)
	}
	return append(b, p.Data...)
}

func appendMessages(b []byte, messages []Message) []byte {
	for _, m := range messages {
		b = appendPacket(b, packet{PacketMessage, m})
	}
	return b
}

// packetReader reads packets from a stream. While it waits for one it holds no buffer.
type packetReader struct {
	r      io.Reader
	max    int64
	head   [8]byte
	buffer *[]byte // of the packet that was read last
}

// next returns the next packet, whose data is valid until the call after. io.EOF is the
// end between two packets, and io.ErrUnexpectedEOF that in one; errLength and errPacket
// mean that there is no way on.
func (d *packetReader) next() (packet, error) {
	d.release()
	if _, err := io.ReadFull(d.r, d.head[:1]); err != nil {
		return packet{}, err
	}
	isBinary := d.head[0]&streamBinary != 0
	n := uint64(d.head[0] &^ streamBinary)
	if n >= streamLong {
		long := d.head[:2]
		if n > streamLong {
			long = d.head[:8]
		}
		if err := readAll(d.r, long); err != nil {
			return packet{}, err
		}
		if n = uint64(binary.BigEndian.Uint16(long)); len(long) == 8 {
			n = binary.BigEndian.Uint64(long)
		}
	}
	if n == 0 || n > uint64(d.max) {
		return packet{}, errLength
	}
	data, err := d.read(int(n))
	if err != nil {
		return packet{}, err
	}
	if isBinary {
		return packet{PacketMessage, Message{Data: data, Binary: true}}, nil
	}
	if !utf8.Valid(data) {
		return packet{}, errPacket
	}
	return decodeText(data)
}

// firstRead is how much memory a header gets at once. The rest comes with the data.
const firstRead = 4 << 10

func (d *packetReader) read(n int) ([]byte, error) {
	d.buffer = buffers.Get().(*[]byte)
	data := (*d.buffer)[:0]
	for len(data) < n {
		have := len(data)
		data = slices.Grow(data, min(n-have, max(have, firstRead)))
		data = data[:min(n, cap(data))]
		*d.buffer = data
		if err := readAll(d.r, data[have:]); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// readAll fills b, before which something was read already.
func readAll(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// release gives the buffer back.
func (d *packetReader) release() {
	if d.buffer != nil && cap(*d.buffer) <= 64<<10 {
		buffers.Put(d.buffer)
	}
	d.buffer = nil
}
