package engineio

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
)

// What engine.io-parser's createPacketEncoderStream makes of packets, byte by byte.
func TestPacketStream(t *testing.T) {
	for _, c := range []struct {
		name string
		p    packet
		wire string
	}{
		{"text", text('4', "hello"), "\x064hello"},
		{"text beyond ASCII", text('4', "€"), "\x044\xe2\x82\xac"},
		{"no data", text('2', ""), "\x012"},
		{"binary", bin("\x01\x02\x03\x04"), "\x84\x01\x02\x03\x04"},
		{"binary, empty", bin(""), "\x01b"},
		{"125 bytes", text('4', strings.Repeat("x", 124)), "\x7d4" + strings.Repeat("x", 124)},
		{"126 bytes", text('4', strings.Repeat("x", 125)), "\x7e\x00\x7e4" + strings.Repeat("x", 125)},
		{"65,535 bytes, binary", bin(strings.Repeat("x", 65535)), "\xfe\xff\xff" + strings.Repeat("x", 65535)},
		{"65,536 bytes", text('4', strings.Repeat("x", 65535)), "\x7f\x00\x00\x00\x00\x00\x01\x00\x004" + strings.Repeat("x", 65535)},
	} {
		t.Run(c.name, func(t *testing.T) {
			wire := appendPacket(nil, c.p)
			if string(wire) != c.wire {
				t.Errorf("encoded %.40q, want %.40q", wire, c.wire)
			}
			in := &packetReader{r: iotest.HalfReader(bytes.NewReader(wire)), max: 1 << 20}
			p, err := in.next()
			if err != nil || p.typ != c.p.typ || p.Binary != c.p.Binary || !bytes.Equal(p.Data, c.p.Data) {
				t.Errorf("decoded %v %.40q, error %v", p.typ, p.Data, err)
			}
			if _, err := in.next(); err != io.EOF {
				t.Errorf("then %v, want io.EOF", err)
			}
			in.release()
		})
	}
}

func TestPacketStreamRefuses(t *testing.T) {
	for _, c := range []struct {
		name, wire string
		want       error
	}{
		{"length 0", "\x00", errLength},
		{"length 0, binary", "\x80", errLength},
		{"length 0 in 16 bits", "\x7e\x00\x00", errLength},
		{"length 0 in 64 bits", "\x7f\x00\x00\x00\x00\x00\x00\x00\x00", errLength},
		{"past the bound", "\x7e\x03\xe9", errLength},
		{"past the bound, binary", "\xfe\x03\xe9", errLength},
		{"2^63", "\x7f\x80\x00\x00\x00\x00\x00\x00\x00", errLength},
		{"2^53", "\x7f\x00\x20\x00\x00\x00\x00\x00\x00", errLength},
		{"no UTF-8", "\x024\xff", errPacket},
		{"type 7", "\x017", errPacket},
		{"no base64", "\x04b$$$", errPacket},
		{"cut in the length", "\x7e\x00", io.ErrUnexpectedEOF},
		{"cut behind the header", "\x05", io.ErrUnexpectedEOF},
		{"cut in the data", "\x054hel", io.ErrUnexpectedEOF},
		{"nothing", "", io.EOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := &packetReader{r: strings.NewReader(c.wire), max: 1000}
			if p, err := in.next(); !errors.Is(err, c.want) {
				t.Errorf("%v %q, error %v, want %v", p.typ, p.Data, err, c.want)
			}
		})
	}
}

// A header that promises much gets memory for what comes.
func TestPacketStreamPromises(t *testing.T) {
	in := &packetReader{r: strings.NewReader("\x7f\x00\x00\x00\x00\x40\x00\x00\x00" + strings.Repeat("4", 10_000)), max: math.MaxInt32}
	if _, err := in.next(); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	if n := cap(*in.buffer); n > 100_000 {
		t.Errorf("%d bytes for 10,000", n)
	}
}

func FuzzPacketStream(f *testing.F) {
	for _, s := range []string{
		"\x010", "\x130{\"sid\":\"abcdefgh\"}", "\x064hello\x84\x01\x02\x03\x04\x012", "\x09bAQIDBA==", "\x01b", "\x00", "\x80",
		"\x7e\x00\x054hell", "\x7f\x00\x00\x00\x00\x00\x00\x00\x014", "\x7f\x80\x00\x00\x00\x00\x00\x00\x00", "\xff\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		const max = 1 << 16
		in := &packetReader{r: bytes.NewReader(wire), max: max}
		for {
			p, err := in.next()
			if err != nil {
				break
			}
			if len(p.Data) > max || p.typ < PacketOpen || p.typ > PacketNoop {
				t.Fatalf("%v with %d bytes", p.typ, len(p.Data))
			}
			again := &packetReader{r: bytes.NewReader(appendPacket(nil, p)), max: max + 9}
			q, err := again.next()
			if err != nil || q.typ != p.typ || q.Binary != p.Binary || !bytes.Equal(q.Data, p.Data) {
				t.Fatalf("%v %q, and again %v %q, error %v", p.typ, p.Data, q.typ, q.Data, err)
			}
			again.release()
		}
		in.release()
	})
}
