package engineio

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// A payload is the body of a polling request: several packets.

const separator = 0x1e // revision 4, between packets

// appendPayload4 appends packets as revision 4 has them.
func appendPayload4(b []byte, packets []packet) []byte {
	for i, p := range packets {
		if i > 0 {
			b = append(b, separator)
		}
		if p.Binary {
			b = append(b, 'b')
			b = base64.StdEncoding.AppendEncode(b, p.Data)
			continue
		}
		b = append(append(b, byte(p.typ)), p.Data...)
	}
	return b
}

// decodePayload4 calls f for each packet of body until it returns an error. What it gives
// to f aliases body.
func decodePayload4(body []byte, f func(packet) error) error {
	if !utf8.Valid(body) {
		return errPayload
	}
	for {
		part, rest, more := bytes.Cut(body, []byte{separator})
		p, err := decodeText(part)
		if err != nil {
			return err
		}
		if err := f(p); err != nil {
			return err
		}
		if !more {
			return nil
		}
		body = rest
	}
}

// decodeText decodes a packet that arrived as text, in revision 4.
func decodeText(s []byte) (packet, error) {
	if len(s) == 0 {
		return packet{}, errPacket
	}
	if s[0] == 'b' {
		return decodeBase64(s[1:])
	}
	if s[0] < '0' || s[0] > '6' {
		return packet{}, errPacket
	}
	return packet{PacketType(s[0]), Message{Data: s[1:]}}, nil
}

func decodeBase64(s []byte) (packet, error) {
	// Clients differ in whether they pad.
	s = bytes.TrimRight(s, "=")
	data := make([]byte, base64.RawStdEncoding.DecodedLen(len(s)))
	n, err := base64.RawStdEncoding.Decode(data, s)
	if err != nil {
		return packet{}, errPacket
	}
	return packet{PacketMessage, Message{Data: data[:n], Binary: true}}, nil
}

// appendPayload3 appends packets as revision 3 has them in text. bare leaves out the type
// of binary packets, for clients that do.
func appendPayload3(b []byte, packets []packet, bare bool) []byte {
	var one []byte
	for _, p := range packets {
		one = one[:0]
		if p.Binary {
			one = append(one, 'b')
			if !bare {
				one = append(one, byte(p.typ))
			}
			one = base64.StdEncoding.AppendEncode(one, p.Data)
		} else {
			one = append(append(one, byte(p.typ)), p.Data...)
		}
		b = strconv.AppendInt(b, int64(units(one)), 10)
		b = append(append(b, ':'), one...)
	}
	return b
}

// appendBinaryPayload3 appends packets as revision 3 has them for clients that take
// binary bodies: 0 for text or 1 for binary, the length in digits of a byte each, 255,
// the packet.
func appendBinaryPayload3(b []byte, packets []packet) []byte {
	for _, p := range packets {
		typ := byte(p.typ)
		if p.Binary {
			b = append(b, 1)
			typ -= '0'
		} else {
			b = append(b, 0)
		}
		for _, digit := range strconv.Itoa(1 + len(p.Data)) {
			b = append(b, byte(digit-'0'))
		}
		b = append(append(b, 255, typ), p.Data...)
	}
	return b
}

// units is the length of s in JavaScript: UTF-16 units.
func units(s []byte) int {
	n := 0
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			n++
			i++
			continue
		}
		r, size := utf8.DecodeRune(s[i:])
		n += max(utf16.RuneLen(r), 1)
		i += size
	}
	return n
}

// cutUnits cuts s after n UTF-16 units; not ok if it has fewer, or in the middle of a
// surrogate pair.
func cutUnits(s []byte, n int) (head, rest []byte, ok bool) {
	i := 0
	for n > 0 {
		if i >= len(s) {
			return nil, nil, false
		}
		r, size := utf8.DecodeRune(s[i:])
		n -= max(utf16.RuneLen(r), 1)
		i += size
	}
	return s[:i], s[i:], n == 0
}

// decodePayload3 is decodePayload4 for revision 3 in text. bare tells f that a binary
// packet came without a type.
func decodePayload3(body []byte, f func(p packet, bare bool) error) error {
	if !utf8.Valid(body) || len(body) == 0 {
		return errPayload
	}
	for len(body) > 0 {
		digits, _, ok := bytes.Cut(body[:min(len(body), 12)], []byte{':'})
		n, err := strconv.ParseUint(string(digits), 10, 31)
		if !ok || err != nil || n == 0 {
			return errPayload
		}
		one, rest, ok := cutUnits(body[len(digits)+1:], int(n))
		if !ok {
			return errPayload
		}
		body = rest
		p, bare, err := decodeText3(one)
		if err != nil {
			return err
		}
		if err := f(p, bare); err != nil {
			return err
		}
	}
	return nil
}

func decodeText3(s []byte) (p packet, bare bool, err error) {
	if s[0] != 'b' {
		p, err = decodeText(s)
		p.Data = undouble(p.Data)
		return p, false, err
	}
	// b, the type, base64. Some leave out the type; base64 comes in fours.
	s = s[1:]
	if len(s)%4 == 1 && s[0] >= '0' && s[0] <= '6' {
		p, err = decodeBase64(s[1:])
		p.typ = PacketType(s[0])
		return p, false, err
	}
	p, err = decodeBase64(s)
	return p, true, err
}

// undouble takes back what engine.io-client before 2.0 does to text on long-polling: it
// encodes it as UTF-8, takes each byte for a character, and lets the browser encode that
// as UTF-8 again. Nothing says that a client is one of these, but text of which all
// characters are bytes that make valid UTF-8 with something beyond ASCII in it has never
// been meant.
func undouble(s []byte) []byte {
	ascii := true
	for _, c := range s {
		if c >= utf8.RuneSelf {
			ascii = false
			break
		}
	}
	if ascii {
		return s
	}
	once := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRune(s[i:])
		if r > 0xff {
			return s
		}
		once = append(once, byte(r))
		i += size
	}
	if !utf8.Valid(once) {
		return s
	}
	return once
}

// decodeBinaryPayload3 is decodePayload3 for a body of type application/octet-stream.
func decodeBinaryPayload3(body []byte, f func(p packet, bare bool) error) error {
	if len(body) == 0 {
		return errPayload
	}
	for len(body) > 0 {
		kind := body[0]
		n, i := 0, 1
		for ; i < len(body) && body[i] <= 9; i++ {
			if n = n*10 + int(body[i]); n > len(body) {
				return errPayload
			}
		}
		if kind > 1 || i == 1 || i >= len(body) || body[i] != 255 || n == 0 || n > len(body)-i-1 {
			return errPayload
		}
		one := body[i+1 : i+1+n]
		body = body[i+1+n:]
		var p packet
		if kind == 1 {
			if one[0] > 6 {
				return errPacket
			}
			p = packet{PacketType('0' + one[0]), Message{Data: one[1:], Binary: true}}
		} else {
			if !utf8.Valid(one) {
				return errPacket
			}
			var err error
			if p, _, err = decodeText3(one); err != nil {
				return err
			}
		}
		if err := f(p, false); err != nil {
			return err
		}
	}
	return nil
}

const oldSeparator = "\uFFFD"

// appendPayload09 appends packets as 0.9 has them: several with their lengths in
// characters, a single one bare.
func appendPayload09(b []byte, packets []packet) []byte {
	if len(packets) == 1 {
		return append(b, wire09(packets[0])...)
	}
	for _, p := range packets {
		text := wire09(p)
		b = append(b, oldSeparator...)
		b = strconv.AppendInt(b, int64(units(text)), 10)
		b = append(append(b, oldSeparator...), text...)
	}
	return b
}

// wire09 is a packet in 0.9, where messages come complete.
func wire09(p packet) []byte {
	switch p.typ {
	case PacketOpen:
		return []byte("1::")
	case PacketClose:
		return []byte("0::")
	case PacketPing:
		return []byte("2::")
	case PacketNoop:
		return []byte("8::")
	}
	return p.Data
}

// decodePayload09 is decodePayload4 for 0.9.
func decodePayload09(body []byte, f func(packet) error) error {
	if !utf8.Valid(body) {
		return errPayload
	}
	if !bytes.HasPrefix(body, []byte(oldSeparator)) {
		p, err := decode09(bytes.TrimRight(body, "\r\n"))
		if err != nil {
			return err
		}
		return f(p)
	}
	for len(body) > 0 {
		rest, ok := bytes.CutPrefix(body, []byte(oldSeparator))
		if !ok {
			return errPayload
		}
		digits, rest, ok := bytes.Cut(rest, []byte(oldSeparator))
		n, err := strconv.ParseUint(string(digits), 10, 31)
		if !ok || err != nil {
			return errPayload
		}
		one, rest, ok := cutUnits(rest, int(n))
		if !ok {
			return errPayload
		}
		body = rest
		p, err := decode09(one)
		if err != nil {
			return err
		}
		if err := f(p); err != nil {
			return err
		}
	}
	return nil
}

// decode09 tells packets that belong to the transport from messages.
func decode09(s []byte) (packet, error) {
	if len(s) < 3 || s[1] != ':' && (s[1] < '0' || s[1] > '9') || s[0] < '0' || s[0] > '8' {
		return packet{}, errPacket
	}
	switch s[0] {
	case '2':
		return packet{typ: PacketPong}, nil
	case '8':
		return packet{typ: PacketNoop}, nil
	case '0':
		if string(s) == "0::" { // of everything, not of one endpoint
			return packet{typ: PacketClose}, nil
		}
	}
	return packet{PacketMessage, Message{Data: s}}, nil
}
