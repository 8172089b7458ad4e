package ws

import (
	"strconv"
	"strings"

	"github.com/chaussette/chaussette/ws/internal/deflate"
)

// Deflate says whether and how permessage-deflate (RFC 7692) is negotiated.
type Deflate struct {
	// Enabled turns it on. It is off by default: it costs CPU for each message, and with
	// a context taken over up to two windows (64 KiB) for each connection.
	Enabled bool
	// Level is 1 (fastest) to 9 (smallest). 0 means 1.
	Level int
	// NoContextTakeover compresses each message by itself, both ways: a connection then
	// keeps no window between messages.
	NoContextTakeover bool
	// WindowBits is the largest window, as a power of two, 8 to 15, that is agreed on
	// where the client lets us choose. 0 means 15.
	WindowBits int
	// Threshold is the size in bytes below which messages are sent as they are. 0 means
	// 128, less than 0 that all are compressed.
	Threshold int
}

// DeflateParams are what both sides have agreed on (RFC 7692, 7.1). A window of 15 bits
// has 32 KiB.
type DeflateParams struct {
	ServerNoContextTakeover bool
	ClientNoContextTakeover bool
	ServerMaxWindowBits     int // 8 to 15
	ClientMaxWindowBits     int // 8 to 15
	Level                   int
	Threshold               int // bytes

	serverBitsOffered, clientBitsOffered bool
}

// String is the answer in Sec-WebSocket-Extensions.
func (p *DeflateParams) String() string {
	s := "permessage-deflate"
	if p.ServerNoContextTakeover {
		s += "; server_no_context_takeover"
	}
	if p.ClientNoContextTakeover {
		s += "; client_no_context_takeover"
	}
	if p.serverBitsOffered {
		s += "; server_max_window_bits=" + strconv.Itoa(p.ServerMaxWindowBits)
	}
	if p.clientBitsOffered && p.ClientMaxWindowBits < 15 {
		s += "; client_max_window_bits=" + strconv.Itoa(p.ClientMaxWindowBits)
	}
	return s
}

// negotiateDeflate accepts the first offer that can be (RFC 7692, 5.1), or none: then the
// connection goes on without compression.
func negotiateDeflate(d *Deflate, headers []string) *DeflateParams {
	for _, header := range headers {
		for offer := range splitUnquoted(header, ',') {
			if p := acceptOffer(d, offer); p != nil {
				return p
			}
		}
	}
	return nil
}

func acceptOffer(d *Deflate, offer string) *DeflateParams {
	ours := d.WindowBits
	if ours == 0 {
		ours = 15
	}
	p := &DeflateParams{
		ServerNoContextTakeover: d.NoContextTakeover,
		ClientNoContextTakeover: d.NoContextTakeover,
		ServerMaxWindowBits:     15,
		ClientMaxWindowBits:     15,
		Level:                   max(d.Level, 1),
		Threshold:               d.Threshold,
	}
	if d.Threshold == 0 {
		p.Threshold = 128
	}
	seen := map[string]bool{}
	first := true
	for part := range splitUnquoted(offer, ';') {
		name, value, hasValue := strings.Cut(part, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		if first {
			if first = false; !strings.EqualFold(name, "permessage-deflate") || hasValue {
				return nil
			}
			continue
		}
		if seen[name] {
			return nil // no parameter twice (RFC 7692, 7.1)
		}
		seen[name] = true
		bits, ok := windowBits(value)
		switch {
		case name == "server_no_context_takeover" && !hasValue:
			p.ServerNoContextTakeover = true
		case name == "client_no_context_takeover" && !hasValue:
			p.ClientNoContextTakeover = true
		case name == "server_max_window_bits" && ok:
			p.serverBitsOffered = true
			p.ServerMaxWindowBits = min(bits, ours)
		case name == "client_max_window_bits" && (ok || !hasValue):
			p.clientBitsOffered = true
			p.ClientMaxWindowBits = ours
			if ok {
				p.ClientMaxWindowBits = min(bits, ours)
			}
		default:
			return nil
		}
	}
	if p.ServerMaxWindowBits < 15 {
		// The compressor with a small window cannot begin with a dictionary.
		p.ServerNoContextTakeover = true
	}
	return p
}

func windowBits(s string) (int, bool) {
	if s == "" || s[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 8)
	return int(n), err == nil && n >= 8 && n <= 15
}

// splitUnquoted yields the parts of s between separators outside of quotes.
func splitUnquoted(s string, separator byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		begin, quoted := 0, false
		for i := 0; i < len(s); i++ {
			switch {
			case s[i] == '"':
				quoted = !quoted
			case s[i] == separator && !quoted:
				if !yield(strings.TrimSpace(s[begin:i])) {
					return
				}
				begin = i + 1
			}
		}
		yield(strings.TrimSpace(s[begin:]))
	}
}

// compress encodes p's messages for connections without context takeover.
func (p *Prepared) compress(d *DeflateParams) []byte {
	const rsv1 = 0x40
	var b []byte
	for _, m := range p.messages {
		if !m.Uncompressed && len(m.Data) >= d.Threshold {
			if packed := deflate.Compress(nil, m.Data, d.Level, d.ServerMaxWindowBits, nil); len(packed) < len(m.Data) {
				b = append(AppendHeader(b, byte(m.Type)|rsv1, len(packed)), packed...)
				continue
			}
		}
		b = append(AppendHeader(b, byte(m.Type), len(m.Data)), m.Data...)
	}
	return b
}
