package wstest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/flate"

	"github.com/chaussette/chaussette/ws"
)

// Patience is how long a Client waits for what has to come.
const Patience = 10 * time.Second

// Opcodes (RFC 6455, 11.8).
const (
	Continuation byte = 0
	Text         byte = 1
	Binary       byte = 2
	Close        byte = 8
	Ping         byte = 9
	Pong         byte = 10
)

// Frame is one frame, right or wrong.
type Frame struct {
	Opcode   byte
	Payload  []byte
	More     bool // FIN is not set
	RSV      byte // the three bits: 4 is RSV1
	Unmasked bool
}

// F returns a final frame.
func F(opcode byte, payload string) Frame { return Frame{Opcode: opcode, Payload: []byte(payload)} }

// CloseFrame returns a close frame.
func CloseFrame(code ws.StatusCode, reason string) Frame {
	return Frame{Opcode: Close, Payload: append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)}
}

// Bytes is the frame as a client sends it.
func (f Frame) Bytes() []byte {
	first := f.RSV<<4 | f.Opcode
	if !f.More {
		first |= 0x80
	}
	masked := byte(0x80)
	if f.Unmasked {
		masked = 0
	}
	b := []byte{first}
	switch n := len(f.Payload); {
	case n < 126:
		b = append(b, masked|byte(n))
	case n < 1<<16:
		b = append(b, masked|126, byte(n>>8), byte(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, masked|127), uint64(n))
	}
	if f.Unmasked {
		return append(b, f.Payload...)
	}
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d} // of RFC 6455, 5.7
	b = append(b, mask[:]...)
	for i, c := range f.Payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

func (f Frame) String() string {
	payload := fmt.Sprintf("%q", f.Payload)
	if len(f.Payload) > 40 {
		payload = fmt.Sprintf("%q... (%d bytes)", f.Payload[:40], len(f.Payload))
	}
	return fmt.Sprintf("{opcode %d fin %t rsv %d %s}", f.Opcode, !f.More, f.RSV, payload)
}

// Equal reports whether two frames are the same on the wire, but for masks.
func (f Frame) Equal(g Frame) bool {
	return f.Opcode == g.Opcode && f.More == g.More && f.RSV == g.RSV && bytes.Equal(f.Payload, g.Payload)
}

// Client is the peer of a server under test. What fails, fails the test, unless the
// method returns an error.
type Client struct {
	net.Conn
	T testing.TB
	// Response is the answer to the handshake.
	Response *http.Response

	in      *bufio.Reader
	deflate bool
	window  []byte // what the server compressed before
	keep    bool   // it takes its context over
}

// Handshake is what a client asks for. The zero value is a good one.
type Handshake struct {
	Path   string // "/" if empty
	Host   string // the server's address if empty
	Header http.Header
	// Without lists headers that are left out.
	Without []string
}

// Request is the handshake as bytes.
func (h Handshake) Request(address string) []byte {
	header := http.Header{
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	for name, values := range h.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	for _, name := range h.Without {
		header.Del(name)
	}
	path, host := h.Path, h.Host
	if path == "" {
		path = "/"
	}
	if host == "" {
		host = address
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\n", path, host)
	header.Write(&b)
	b.WriteString("\r\n")
	return b.Bytes()
}

// DialRaw connects to a server and shakes hands, whatever the answer is.
func DialRaw(t testing.TB, address string, h Handshake) *Client {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { nc.Close() })
	c := NewClient(t, nc)
	c.Send(h.Request(address))
	c.SetReadDeadline(time.Now().Add(Patience))
	c.Response, err = http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatalf("handshake: %v", err)
	}
	offered := strings.Join(c.Response.Header["Sec-Websocket-Extensions"], ",")
	c.deflate = strings.HasPrefix(offered, "permessage-deflate")
	c.keep = !strings.Contains(offered, "server_no_context_takeover")
	return c
}

// Dial is DialRaw where the handshake has to succeed.
func Dial(t testing.TB, address string, h Handshake) *Client {
	t.Helper()
	c := DialRaw(t, address, h)
	if c.Response.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(c.Response.Body)
		t.Fatalf("handshake: %s: %s", c.Response.Status, body)
	}
	if got := c.Response.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // RFC 6455, 1.3
		t.Fatalf("Sec-WebSocket-Accept is %q", got)
	}
	return c
}

// NewClient returns a Client on a connection on which hands were shaken.
func NewClient(t testing.TB, nc net.Conn) *Client {
	return &Client{Conn: nc, T: t, in: bufio.NewReader(nc)}
}

// Send sends bytes. The server may have closed: what it says is to be read.
func (c *Client) Send(b []byte) {
	c.SetWriteDeadline(time.Now().Add(Patience))
	c.Write(b)
}

// Frames sends frames in one piece.
func (c *Client) Frames(frames ...Frame) {
	var b []byte
	for _, f := range frames {
		b = append(b, f.Bytes()...)
	}
	c.Send(b)
}

// Next returns the next frame; io.EOF at the end, or when the connection was reset.
func (c *Client) Next() (Frame, error) {
	c.SetReadDeadline(time.Now().Add(Patience))
	var head [10]byte
	if _, err := io.ReadFull(c.in, head[:2]); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return Frame{}, err
		}
		return Frame{}, io.EOF
	}
	f := Frame{Opcode: head[0] & 0x0F, More: head[0]&0x80 == 0, RSV: head[0] >> 4 & 7}
	if head[1]&0x80 != 0 {
		return f, errors.New("the server has masked a frame")
	}
	n := uint64(head[1])
	switch n {
	case 126:
		if _, err := io.ReadFull(c.in, head[:2]); err != nil {
			return f, err
		}
		n = uint64(binary.BigEndian.Uint16(head[:]))
	case 127:
		if _, err := io.ReadFull(c.in, head[:8]); err != nil {
			return f, err
		}
		n = binary.BigEndian.Uint64(head[:])
	}
	f.Payload = make([]byte, n)
	_, err := io.ReadFull(c.in, f.Payload)
	return f, err
}

// Expect fails the test unless these frames come next.
func (c *Client) Expect(want ...Frame) {
	c.T.Helper()
	for _, w := range want {
		got, err := c.Next()
		if err != nil {
			c.T.Fatalf("waiting for %v: %v", w, err)
		}
		if !got.Equal(w) {
			c.T.Fatalf("got %v, want %v", got, w)
		}
	}
}

// ExpectClose fails the test unless a close frame with one of the codes comes next, and
// then the end of the stream. It returns the reason.
func (c *Client) ExpectClose(codes ...ws.StatusCode) string {
	c.T.Helper()
	got, err := c.Next()
	if err != nil {
		c.T.Fatalf("waiting for a close frame %v: %v", codes, err)
	}
	return c.checkClose(got, codes...)
}

func (c *Client) checkClose(got Frame, codes ...ws.StatusCode) string {
	c.T.Helper()
	code, reason := ws.StatusNone, ""
	if len(got.Payload) >= 2 {
		code, reason = ws.StatusCode(binary.BigEndian.Uint16(got.Payload)), string(got.Payload[2:])
	}
	ok := false
	for _, want := range codes {
		ok = ok || code == want
	}
	if got.Opcode != Close || !ok {
		c.T.Fatalf("got %v, want a close frame with %v", got, codes)
	}
	c.ExpectEOF()
	return reason
}

// ExpectEOF fails the test unless the server ends the connection now.
func (c *Client) ExpectEOF() {
	c.T.Helper()
	if got, err := c.Next(); err != io.EOF {
		c.T.Fatalf("got %v, %v, want the end of the connection", got, err)
	}
}

// Bye closes with a handshake.
func (c *Client) Bye() {
	c.T.Helper()
	c.Frames(CloseFrame(ws.StatusNormal, ""))
	c.ExpectClose(ws.StatusNormal)
}

// Deflate returns the frame compressed, with no context.
func (f Frame) Deflate() Frame {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 6)
	w.Write(f.Payload)
	w.Flush()
	f.Payload = b.Bytes()[:b.Len()-4]
	f.RSV |= 4
	return f
}

// Inflate returns the payload of a message that the server may have compressed.
func (c *Client) Inflate(f Frame) ([]byte, error) {
	if f.RSV&4 == 0 {
		return f.Payload, nil
	}
	r := flate.NewReaderDict(io.MultiReader(bytes.NewReader(f.Payload), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")), c.window)
	p, err := io.ReadAll(r)
	if c.keep {
		c.window = append(c.window, p...)
		c.window = c.window[max(len(c.window)-1<<15, 0):]
	}
	return p, err
}
