package wstest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"

	"github.com/chaussette/chaussette/ws"
)

// deflateGroup are the cases of the Autobahn suite's numbers NAME.1 to NAME.18: messages
// of one kind, sizes that grow, and the largest in fragments of several sizes.
type deflateGroup struct {
	name, offer string
	opcode      byte
	payload     func(n int) []byte
}

func deflateGroups() []deflateGroup {
	const plain = "permessage-deflate; client_max_window_bits"
	groups := []deflateGroup{
		{"12.1", plain, Text, jsonText},
		{"12.2", plain, Binary, picture},
		{"12.3", plain, Text, prose},
		{"12.4", plain, Text, greekProse},
		{"12.5", plain, Binary, noise},
	}
	for _, o := range deflateOffers {
		if strings.HasPrefix(o.name, "13.") {
			groups = append(groups, deflateGroup{o.name, o.offer, Text, jsonText})
		}
	}
	return groups
}

var (
	deflateSizes     = []int{16, 64, 256, 1 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10}
	deflateFragments = []int{256, 1 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 48 << 10, 64 << 10}
)

func jsonText(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `{"id":%d,"name":"user %d","balance":%d.%02d,"active":%v},`, i, i*7919%1000, i*31, i%100, i%3 == 0)
	}
	return b.Bytes()[:n]
}

// picture is what an image without compression is like.
func picture(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i%64*3 + i/512)
	}
	return b
}

func prose(n int) []byte {
	return []byte(strings.Repeat("a small text that says much the same again and again, with numbers 0123456789. ", n/79+1)[:n])
}

// greekProse has runes of two bytes, and n is even.
func greekProse(n int) []byte {
	return []byte(strings.Repeat("κόσμεαβγδεζηθικλμνξοπρστυφχψω", n/58+1)[:n])
}

func noise(n int) []byte {
	rnd := rand.New(rand.NewPCG(7, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// packer compresses messages as a client may that has got this answer to its offer.
type packer struct {
	out  bytes.Buffer
	w    *flate.Writer
	each bool // each message by itself: no context is taken over
}

func newPacker(t testing.TB, answer string) *packer {
	t.Helper()
	p := &packer{}
	bits, each := 15, false
	for part := range strings.SplitSeq(answer, ";") {
		part = strings.TrimSpace(part)
		if part == "client_no_context_takeover" {
			each = true
		}
		if _, err := fmt.Sscanf(part, "client_max_window_bits=%d", &bits); err == nil && (bits < 8 || bits > 15) {
			t.Fatalf("answered %q", answer)
		}
	}
	p.each = each
	var err error
	p.w, err = flate.NewWriter(&p.out, 1)
	if bits < 15 {
		p.w, err = flate.NewWriterWindow(&p.out, 1<<bits)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pack returns a message as frames with at most fragment bytes each; 0 is one frame.
func (p *packer) pack(opcode byte, message []byte, fragment int) []Frame {
	p.out.Reset()
	if p.each {
		p.w.Reset(&p.out)
	}
	p.w.Write(message)
	p.w.Flush()
	packed := bytes.Clone(p.out.Bytes()[:p.out.Len()-4])
	if fragment == 0 {
		fragment = len(packed)
	}
	frames := fragments(opcode, split(string(packed), fragment)...)
	frames[0].RSV = 4
	return frames
}

func runDeflateCases(t *testing.T, newEngine NewEngine, start Start) {
	server := start(t, newEngine(t, ws.Config{Deflate: ws.Deflate{Enabled: true}}), EchoApp(false))
	for _, g := range deflateGroups() {
		t.Run(g.name, func(t *testing.T) {
			number := 0
			for _, size := range deflateSizes {
				number++
				g.run(t, server, number, size, 0)
			}
			for _, fragment := range deflateFragments {
				number++
				g.run(t, server, number, deflateSizes[len(deflateSizes)-1], fragment)
			}
		})
	}
}

// run has some messages echoed on a connection of its own.
func (g *deflateGroup) run(t *testing.T, server *Server, number, size, fragment int) {
	t.Helper()
	c := Dial(t, server.Address, Handshake{Header: http.Header{"Sec-WebSocket-Extensions": {g.offer}}})
	if !c.deflate {
		t.Fatalf("%s.%d: %q was declined", g.name, number, g.offer)
	}
	p := newPacker(t, c.Response.Header.Get("Sec-WebSocket-Extensions"))
	want := g.payload(size)
	const messages = 2 // the second has a context
	for i := range messages {
		frames := p.pack(g.opcode, want, fragment)
		go c.Frames(frames...)
		got, err := c.Next()
		if err != nil {
			t.Fatalf("%s.%d, message %d: %v", g.name, number, i, err)
		}
		plain, err := c.Inflate(got)
		if err != nil || got.Opcode != g.opcode || !bytes.Equal(plain, want) {
			t.Fatalf("%s.%d, message %d of %d bytes: got %d of opcode %d, %v", g.name, number, i, size, len(plain), got.Opcode, err)
		}
	}
	c.Bye()
}
