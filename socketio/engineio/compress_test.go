package engineio_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/socketio/engineio"
	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/epoll"
	"github.com/chaussette/chaussette/ws/gorilla"
	"github.com/chaussette/chaussette/ws/wstest"
)

// What is not to be compressed is not deflated on WebSocket, whichever way it is sent, and
// what is sent beside it is.
func TestUncompressedOnWebSocket(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for name, engine := range map[string]func() ws.Engine{
		"gorilla": func() ws.Engine { return gorilla.New(&ws.Config{Deflate: ws.Deflate{Enabled: true}}) },
		"epoll": func() ws.Engine {
			e, err := epoll.New(&ws.Config{Deflate: ws.Deflate{Enabled: true, NoContextTakeover: true}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return e
		},
		"epoll, context taken over": func() ws.Engine {
			e, err := epoll.New(&ws.Config{Deflate: ws.Deflate{Enabled: true}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return e
		},
	} {
		t.Run(name, func(t *testing.T) {
			takenOver := name == "epoll, context taken over"
			e := engine()
			t.Cleanup(func() {
				if err := e.Close(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			})
			l := listen(t, &engineio.Options{Engine: e})
			deflate := http.Header{"Sec-Websocket-Extensions": {"permessage-deflate"}}
			dial := func(path string) *wstest.Client {
				return wstest.Dial(t, l.address, wstest.Handshake{Path: path, Header: deflate})
			}
			for _, query := range []string{"EIO=4", "EIO=3"} {
				c := dial("/engine.io/?transport=websocket&" + query)
				opened, err := c.Next()
				if err != nil {
					t.Fatal(err)
				}
				testUncompressed(t, c, l.sessionOf(string(opened.Payload)), "4", long, takenOver)
			}

			// A message that waited for a poll stays what it was after the upgrade.
			s, _ := open(t, l.Server, l.recorder, "EIO=4")
			_ = s.Send(engineio.Message{Data: []byte(long), Uncompressed: true}, engineio.Message{Data: []byte(long)})
			c := dial("/engine.io/?transport=websocket&EIO=4&sid=" + string(s.ID()))
			c.Frames(wstest.F(wstest.Text, "2probe"))
			c.Expect(wstest.F(wstest.Text, "3probe"))
			c.Frames(wstest.F(wstest.Text, "5"))
			c.Expect(wstest.F(wstest.Text, "4"+long))
			deflated(t, c, "4"+long)

			handshake := serve(t, l.Server, newExchange("GET", "/engine.io/1/", ""))
			_, answer := handshake.got()
			id, _, _ := strings.Cut(answer, ":")
			c = dial("/engine.io/1/websocket/" + id)
			c.Expect(wstest.F(wstest.Text, "1::"))
			testUncompressed(t, c, l.Session(engineio.SID(id)), "", "3:::"+long, takenOver)
		})
	}
}

// testUncompressed sends data in every way, to a client that gets it behind prefix.
func testUncompressed(t *testing.T, c *wstest.Client, s *engineio.Session, prefix, data string, takenOver bool) {
	t.Helper()
	plain, packed := engineio.Message{Data: []byte(data), Uncompressed: true}, engineio.Message{Data: []byte(data)}
	_ = s.Send(plain)
	_ = s.Send(packed)
	c.Expect(wstest.F(wstest.Text, prefix+data))
	deflated(t, c, prefix+data)
	_ = s.SendPrepared(engineio.Prepare(plain))
	fan := engineio.NewFan()
	fan.Send(s, engineio.Prepare(plain, plain))
	fan.Close()
	for range 3 {
		c.Expect(wstest.F(wstest.Text, prefix+data))
	}
	if takenOver {
		return // what goes to many is never compressed there
	}
	_ = s.SendPrepared(engineio.Prepare(plain, packed))
	c.Expect(wstest.F(wstest.Text, prefix+data))
	deflated(t, c, prefix+data)
}

// deflated expects a message that is compressed.
func deflated(t *testing.T, c *wstest.Client, want string) {
	t.Helper()
	f, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Inflate(f)
	if err != nil || f.RSV != 4 || string(got) != want {
		t.Errorf("RSV %d, %d bytes, %v; want %d bytes compressed", f.RSV, len(got), err, len(want))
	}
}

// The answer to a poll is gzipped unless none of its messages may be compressed.
func TestUncompressedByPolling(t *testing.T) {
	plain := engineio.Message{Data: []byte(strings.Repeat("x", 2000)), Uncompressed: true}
	packed := engineio.Message{Data: []byte("3:::y")}
	for _, c := range []struct {
		name string
		send []engineio.Message
		want string
	}{
		{"one that may not", []engineio.Message{plain}, ""},
		{"two that may not", []engineio.Message{plain, plain}, ""},
		{"one that may behind it", []engineio.Message{plain, packed}, "gzip"},
		{"one that may", []engineio.Message{{Data: plain.Data}}, "gzip"},
	} {
		for _, query := range []string{"EIO=4", "EIO=3", "0.9"} {
			t.Run(c.name+" "+query, func(t *testing.T) {
				h := &recorder{}
				srv := engineio.NewServer(h, nil)
				defer srv.Close()
				var s *engineio.Session
				var url string
				if query == "0.9" {
					_, answer := serve(t, srv, newExchange("GET", "/engine.io/1/", "")).got()
					id, _, _ := strings.Cut(answer, ":")
					url = "/engine.io/1/xhr-polling/" + id
					serve(t, srv, newExchange("GET", url, "")).want(t, http.StatusOK, "1::")
					s = h.last
				} else {
					s, url = open(t, srv, h, query)
				}
				for _, send := range []func(...engineio.Message) error{
					s.Send,
					func(m ...engineio.Message) error { return s.SendPrepared(engineio.Prepare(m...)) },
				} {
					if err := send(c.send...); err != nil {
						t.Fatal(err)
					}
					poll := serve(t, srv, newExchange("GET", url, "", "Accept-Encoding", "gzip"))
					if got := poll.header.Get("Content-Encoding"); got != c.want {
						t.Errorf("Content-Encoding %q, want %q", got, c.want)
					}
				}
			})
		}
	}
}
