package wstest

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"

	"github.com/chaussette/chaussette/ws"
)

// deflateOffers are those of the Autobahn suite's cases 13.1 to 13.7, and some that are
// declined.
var deflateOffers = []struct {
	name, offer string
	declined    bool
}{
	{"13.1", "permessage-deflate; client_no_context_takeover; client_max_window_bits", false},
	{"13.2", "permessage-deflate; client_no_context_takeover; client_max_window_bits; server_no_context_takeover", false},
	{"13.3", "permessage-deflate; client_no_context_takeover; client_max_window_bits; server_max_window_bits=9", false},
	{"13.4", "permessage-deflate; client_no_context_takeover; client_max_window_bits; server_max_window_bits=15", false},
	{"13.5", "permessage-deflate; client_no_context_takeover; client_max_window_bits; server_no_context_takeover; server_max_window_bits=9", false},
	{"13.6", "permessage-deflate; client_no_context_takeover; client_max_window_bits; server_no_context_takeover; server_max_window_bits=15", false},
	{"13.7", "permessage-deflate; server_no_context_takeover; server_max_window_bits=9, permessage-deflate; server_no_context_takeover, permessage-deflate", false},
	{"12", "permessage-deflate; client_max_window_bits", false},
	{"bare", "permessage-deflate", false},
	{"unknown parameter", "permessage-deflate; x=1", true},
	{"another", "x-webkit-deflate-frame", true},
}

// deflateTexts are messages of several kinds and sizes, up to 128 KiB as in case 12.
func deflateTexts() []string {
	rnd := rand.New(rand.NewPCG(7, 9))
	noise := make([]byte, 40<<10)
	for i := range noise {
		noise[i] = byte(' ' + rnd.IntN(95))
	}
	lorem := strings.Repeat("a small text that says much the same again and again, with numbers 0123456789. ", 1700)
	texts := []string{"", "a", "hello hello hello", string(noise)}
	for _, n := range []int{16, 64, 256, 1 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10} {
		texts = append(texts, lorem[:n])
	}
	return append(texts, lorem[:1000], lorem[:1000], string(noise[:1000]), string(noise[:1000]))
}

func runDeflate(t *testing.T, newEngine NewEngine, start Start) {
	config := ws.Config{Deflate: ws.Deflate{Enabled: true}}
	server := start(t, newEngine(t, config), EchoApp(false))
	dial := func(t testing.TB, offer string) *Client {
		return Dial(t, server.Address, Handshake{Header: http.Header{"Sec-WebSocket-Extensions": {offer}}})
	}
	for _, test := range deflateOffers {
		t.Run(test.name, func(t *testing.T) {
			c := dial(t, test.offer)
			if c.deflate == test.declined {
				t.Fatalf("offered %q: answer %q", test.offer, c.Response.Header.Get("Sec-WebSocket-Extensions"))
			}
			if test.declined {
				c.Frames(F(Text, "plain"))
				c.Expect(F(Text, "plain"))
				c.Frames(F(Text, "packed").Deflate())
				c.ExpectClose(ws.StatusProtocolError)
				return
			}
			for round := range 2 {
				for i, text := range deflateTexts() {
					f := F(Text, text).Deflate()
					if round == 1 { // in fragments, with a ping between
						half := len(f.Payload) / 2
						c.Frames(Frame{Opcode: Text, RSV: 4, More: true, Payload: f.Payload[:half]}, F(Ping, "x"),
							Frame{Opcode: Continuation, Payload: f.Payload[half:]})
						c.Expect(F(Pong, "x"))
					} else {
						go c.Frames(f)
					}
					got, err := c.Next()
					if err != nil {
						t.Fatalf("message %d: %v", i, err)
					}
					plain, err := c.Inflate(got)
					if err != nil || string(plain) != text {
						t.Fatalf("message %d of %d bytes: got %d, %v", i, len(text), len(plain), err)
					}
					if len(text) >= 4<<10 && text[0] == 'a' && len(got.Payload) > len(text)/4 {
						t.Errorf("message %d of %d bytes has %d on the wire", i, len(text), len(got.Payload))
					}
				}
			}
			c.Bye()
		})
	}

	t.Run("client takes its context over", func(t *testing.T) {
		c := dial(t, "permessage-deflate")
		// An engine that wants none gets what a client sends that heeds it.
		none := strings.Contains(c.Response.Header.Get("Sec-WebSocket-Extensions"), "client_no_context_takeover")
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, 6)
		for i, text := range deflateTexts()[4:] {
			b.Reset()
			if none {
				w.Reset(&b)
			}
			w.Write([]byte(text))
			w.Flush()
			c.Frames(Frame{Opcode: Binary, RSV: 4, Payload: bytes.Clone(b.Bytes()[:b.Len()-4])})
			got, err := c.Next()
			if err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
			if plain, err := c.Inflate(got); err != nil || string(plain) != text {
				t.Fatalf("message %d of %d bytes: got %d, %v", i, len(text), len(plain), err)
			}
		}
		c.Bye()
	})

	bad := []struct {
		name   string
		frames []Frame
		code   ws.StatusCode
	}{
		{"garbage", []Frame{{Opcode: Text, RSV: 4, Payload: []byte("\xff\xff\xff\xff")}}, ws.StatusProtocolError},
		{"invalid text", []Frame{F(Text, "\xff\xfe").Deflate()}, ws.StatusInvalidPayload},
		{"compressed ping", []Frame{rsv(F(Ping, "x"), 4)}, ws.StatusProtocolError},
		{"compressed continuation", []Frame{more(F(Text, "x")), rsv(F(Continuation, "x"), 4)}, ws.StatusProtocolError},
		{"bomb", []Frame{F(Binary, strings.Repeat("\x00", 8<<20)).Deflate()}, ws.StatusMessageTooBig},
		{"bomb in fragments", bomb(), ws.StatusMessageTooBig},
	}
	for _, test := range bad {
		t.Run(test.name, func(t *testing.T) {
			c := dial(t, "permessage-deflate")
			go c.Frames(test.frames...)
			c.ExpectClose(test.code)
		})
	}

	t.Run("broadcast", func(t *testing.T) {
		var group ws.Group
		app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws.Serve(w, r, nil, joiner{&group})
		})
		server := start(t, newEngine(t, config), app)
		text := deflateTexts()[9]
		var clients []*Client
		for _, offer := range []string{"permessage-deflate", "permessage-deflate; server_no_context_takeover", "permessage-deflate; server_max_window_bits=10", "none"} {
			c := Dial(t, server.Address, Handshake{Header: http.Header{"Sec-WebSocket-Extensions": {offer}}})
			c.Frames(F(Text, "here"))
			c.Next()
			clients = append(clients, c)
		}
		for i := range 3 {
			group.Send(ws.Text, []byte(text))
			for j, c := range clients {
				got, err := c.Next()
				if err != nil {
					t.Fatalf("message %d of client %d: %v", i, j, err)
				}
				if plain, err := c.Inflate(got); err != nil || string(plain) != text {
					t.Fatalf("message %d of client %d: %d bytes, %v", i, j, len(plain), err)
				}
			}
		}
	})

	t.Run("not compressed", func(t *testing.T) {
		ours, theirs := new(ws.Groups), new(ws.Groups)
		ours.Join(between{theirs})
		stateless := config
		stateless.Groups = ours
		here := start(t, newEngine(t, stateless), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws.Serve(w, r, nil, joiner{ours.Group("all")})
		}))
		stateless.Groups = theirs
		there := start(t, newEngine(t, stateless), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ws.Serve(w, r, nil, joiner{theirs.Group("all")})
		}))
		var clients []*Client
		for _, s := range []*Server{here, here, there, there} {
			c := Dial(t, s.Address, Handshake{Header: http.Header{"Sec-WebSocket-Extensions": {"permessage-deflate; server_no_context_takeover"}}})
			c.Frames(F(Text, "here"))
			c.Expect(F(Text, "here"))
			clients = append(clients, c)
		}
		text := strings.Repeat("x", 1000)
		ours.Group("all").SendPrepared(ws.Prepare(ws.Message{Type: ws.Text, Data: []byte(text), Uncompressed: true}, ws.Message{Type: ws.Text, Data: []byte(text)}))
		for i, c := range clients {
			c.Expect(F(Text, text))
			got, err := c.Next()
			if err != nil || got.RSV != 4 {
				t.Errorf("client %d got %v, %v behind it, and wants it compressed", i, got, err)
			}
		}
	})
}

// joiner joins a group, and echoes.
type joiner struct{ group *ws.Group }

func (j joiner) Open(c *ws.Conn)                                  { j.group.Add(c) }
func (j joiner) Message(c *ws.Conn, typ ws.MessageType, p []byte) { c.Send(typ, p) }
func (j joiner) Close(*ws.Conn, *ws.CloseError)                   {}

func bomb() []Frame {
	f := F(Binary, strings.Repeat("\x00", 8<<20)).Deflate()
	var frames []Frame
	for i, part := range split(string(f.Payload), 1000) {
		g := Frame{Opcode: Continuation, Payload: []byte(part), More: true}
		if i == 0 {
			g.Opcode, g.RSV = Binary, 4
		}
		frames = append(frames, g)
	}
	frames[len(frames)-1].More = false
	return frames
}
