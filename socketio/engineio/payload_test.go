package engineio

import (
	"strings"
	"testing"
)

func text(typ PacketType, s string) packet { return packet{typ, Message{Data: []byte(s)}} }

func bin(s string) packet { return packet{PacketMessage, Message{Data: []byte(s), Binary: true}} }

func TestPayloads(t *testing.T) {
	decode3 := func(f func([]byte, func(packet, bool) error) error) func([]byte, func(packet) error) error {
		return func(b []byte, g func(packet) error) error {
			return f(b, func(p packet, _ bool) error { return g(p) })
		}
	}
	for _, c := range []struct {
		name    string
		packets []packet
		encode  func([]packet) []byte
		decode  func([]byte, func(packet) error) error
		wire    string
	}{
		{"4, one", []packet{text('4', "hello")}, encode4, decodePayload4, "4hello"},
		{"4, several", []packet{text('4', "a"), text('2', ""), bin("\x01\x02\x03\x04")}, encode4, decodePayload4, "4a\x1e2\x1ebAQIDBA=="},
		{"3, one", []packet{text('4', "hello")}, encode3, decode3(decodePayload3), "6:4hello"},
		{"3, UTF-16 counts", []packet{text('4', "€😀"), text('6', "")}, encode3, decode3(decodePayload3), "4:4€😀1:6"},
		{"3, binary as base64", []packet{text('4', "hello"), bin("\x01\x02\x03\x04")}, encode3, decode3(decodePayload3), "6:4hello10:b4AQIDBA=="},
		{"3, binary", []packet{text('4', "hello"), bin("\x01\x02\x03\x04")}, func(p []packet) []byte { return appendBinaryPayload3(nil, p) },
			decode3(decodeBinaryPayload3), "\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04"},
		{"0.9, one", []packet{text('4', "5:::{}")}, encode09, decodePayload09, "5:::{}"},
		{"0.9, several", []packet{text('4', "3:::€"), text('4', "3:::b")}, encode09, decodePayload09, "\ufffd5\ufffd3:::€\ufffd5\ufffd3:::b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.encode(c.packets); string(got) != c.wire {
				t.Errorf("encoded %q, want %q", got, c.wire)
			}
			var got []packet
			if err := c.decode([]byte(c.wire), func(p packet) error { got = append(got, p); return nil }); err != nil {
				t.Fatal(err)
			}
			if len(got) != len(c.packets) {
				t.Fatalf("%d packets, want %d", len(got), len(c.packets))
			}
			for i, p := range got {
				if p.typ != c.packets[i].typ || p.Binary != c.packets[i].Binary || string(p.Data) != string(c.packets[i].Data) {
					t.Errorf("packet %d: %v %q, want %v %q", i, p.typ, p.Data, c.packets[i].typ, c.packets[i].Data)
				}
			}
		})
	}
}

func encode4(p []packet) []byte  { return appendPayload4(nil, p) }
func encode3(p []packet) []byte  { return appendPayload3(nil, p, false) }
func encode09(p []packet) []byte { return appendPayload09(nil, p) }

func TestBadPayloads(t *testing.T) {
	three := func(b []byte) error { return decodePayload3(b, func(packet, bool) error { return nil }) }
	octets := func(b []byte) error { return decodeBinaryPayload3(b, func(packet, bool) error { return nil }) }
	four := func(b []byte) error { return decodePayload4(b, func(packet) error { return nil }) }
	oldest := func(b []byte) error { return decodePayload09(b, func(packet) error { return nil }) }
	for _, c := range []struct {
		name   string
		decode func([]byte) error
		wire   string
	}{
		{"4, letters", four, "abc"}, {"4, empty", four, ""}, {"4, empty packet", four, "4a\x1e"}, {"4, type 7", four, "7x"},
		{"4, a rune cut", four, "4\xe2\x82"}, {"4, no base64", four, "b$$$"},
		{"3, letters", three, "abc"}, {"3, empty", three, ""}, {"3, too long", three, "9:4a"}, {"3, length 0", three, "0:"}, {"3, no length", three, ":4a"},
		{"3, length 2^63", three, "9223372036854775808:4a"}, {"3, negative", three, "-1:4a"}, {"3, half a surrogate", three, "2:4😀"}, {"3, a rune cut", three, "2:4\xe2\x82"},
		{"octets, too long", octets, "\x00\x09\xff4a"}, {"octets, no length", octets, "\x00\xff4a"}, {"octets, no end of length", octets, "\x00\x01"},
		{"octets, kind 2", octets, "\x02\x01\xff4"}, {"octets, length of 30 digits", octets, "\x00" + strings.Repeat("\x09", 30) + "\xff4"}, {"octets, type 9", octets, "\x01\x01\xff\x09"},
		{"0.9, letters", oldest, "abc"}, {"0.9, too long", oldest, "\ufffd9\ufffd3:::a"}, {"0.9, no length", oldest, "\ufffd\ufffd3:::a"}, {"0.9, a rune cut", oldest, "3:::\xe2\x82"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.decode([]byte(c.wire)); err == nil {
				t.Errorf("%q was taken", c.wire)
			}
		})
	}
}

// Clients before 2.0 encode text twice.
func TestUndouble(t *testing.T) {
	twice := func(s string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			b.WriteRune(rune(c))
		}
		return b.String()
	}
	for _, s := range []string{"é", "€uro", "😀", "日本"} {
		if got := string(undouble([]byte(twice(s)))); got != s {
			t.Errorf("%q, want %q", got, s)
		}
		if got := string(undouble([]byte(s))); got != s {
			t.Errorf("once: %q, want %q", got, s)
		}
	}
}

func FuzzPayload(f *testing.F) {
	for _, s := range []string{"4hello", "4a\x1e2\x1ebAQIDBA==", "6:4hello", "10:b4AQIDBA==", "\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04", "\ufffd5\ufffd3:::€", "2::", "0::"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		size := 0
		count := func(p packet) error {
			if size += len(p.Data); size > len(body) {
				t.Fatalf("%q: packets are longer than their payload", body)
			}
			return nil
		}
		_ = decodePayload4(body, count)
		size = 0
		_ = decodePayload09(body, count)
		for _, decode := range []func([]byte, func(packet, bool) error) error{decodePayload3, decodeBinaryPayload3} {
			size = 0
			_ = decode(body, func(p packet, _ bool) error { return count(p) })
		}
		if _, err := fromForm(body, Revision3); err != nil {
			return
		}
	})
}
