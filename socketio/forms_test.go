package socketio_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/adaptertest"
	"github.com/chaussette/chaussette/socketio/parser"
	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/wstest"
)

// formClients connects a client on WebSocket in each form.
func formClients(t *testing.T, io *socketio.Server) []*wstest.Client {
	t.Helper()
	hs := httptest.NewServer(io)
	t.Cleanup(hs.Close)
	address := strings.TrimPrefix(hs.URL, "http://")
	hello, err := parser.Msgpack.Encode(&parser.Packet{Type: parser.Connect, Namespace: "/"})
	if err != nil {
		t.Fatal(err)
	}
	old := httptest.NewRecorder()
	io.ServeHTTP(old, httptest.NewRequestWithContext(t.Context(), "GET", "/socket.io/1/", nil))
	id, _, _ := strings.Cut(old.Body.String(), ":")
	var clients []*wstest.Client
	for _, c := range []struct {
		path   string
		send   []wstest.Frame
		before int // frames until it is connected
	}{
		{"?EIO=4&transport=websocket", []wstest.Frame{wstest.F(wstest.Text, "40")}, 2},
		{"?EIO=3&transport=websocket", nil, 2},
		{"1/websocket/" + id, nil, 1},
		{"?EIO=4&transport=websocket", []wstest.Frame{wstest.F(wstest.Binary, string(hello[0].Data))}, 2},
	} {
		conn := wstest.Dial(t, address, wstest.Handshake{Path: "/socket.io/" + c.path})
		conn.Frames(c.send...)
		for range c.before {
			if _, err := conn.Next(); err != nil {
				t.Fatal(c.path, err)
			}
		}
		clients = append(clients, conn)
	}
	return clients
}

// A client of any protocol gets byte for byte the same, whichever worker has encoded it.
func TestFormsOfSiblings(t *testing.T) {
	var servers []*socketio.Server
	for _, h := range adaptertest.Hubs(t, 2) {
		servers = append(servers, newServer(t, &socketio.Options{Adapter: h.Factory}))
	}
	for _, io := range servers {
		adaptertest.Workers(t, io.Adapter(), 2)
	}
	here, there := servers[0], servers[1]
	clients := formClients(t, there)
	mirror := formClients(t, here) // it has sockets of these forms, too
	polling := connect(t, there, "/")
	adaptertest.Eventually(t, "connected", func() bool { return len(there.Sockets()) == 5 && len(here.Sockets()) == 4 })
	for _, args := range [][]any{
		{"text"}, {"é€😀"}, {[]byte("blob"), map[string]any{"deep": []byte{}}}, {1.5, nil, []string{"x"}}, {strings.Repeat("long", 50_000)},
	} {
		for _, b := range []func(*socketio.Server) socketio.Broadcast{
			func(io *socketio.Server) socketio.Broadcast { return io.To() },
			func(io *socketio.Server) socketio.Broadcast { return io.Uncompressed() },
		} {
			var got [2][]string
			for i, io := range []*socketio.Server{there, here} {
				if err := b(io).Emit("e", args...); err != nil {
					t.Fatal(err)
				}
				frames := 1
				if _, binary := args[0].([]byte); binary {
					frames = 3
				}
				for n, all := range [][]*wstest.Client{clients, mirror} {
					for j, c := range all {
						for range []int{frames, frames, 1, 1}[j] {
							f, err := c.Next()
							if err != nil {
								t.Fatal(err)
							}
							if n == 0 {
								got[i] = append(got[i], string(rune(f.Opcode))+string(f.Payload))
							}
						}
					}
				}
				for range frames {
					got[i] = append(got[i], polling.Next())
				}
			}
			if !slices.Equal(got[0], got[1]) {
				t.Errorf("by its own worker:\n%.100q\nby the other:\n%.100q", got[0], got[1])
			}
		}
	}
}

// What has come encoded is sent as it is; what no client could read is encoded anew.
func TestShipped(t *testing.T) {
	io := newServer(t, nil)
	clients := formClients(t, io)
	polling := connect(t, io, "/")
	event := func(text string) *adapter.Packet {
		return &adapter.Packet{Packet: parser.Packet{Type: parser.Event, Namespace: "/", Data: []byte(`["` + text + `"]`)}}
	}
	shipped, bad := event("own"), event("own")
	for f, text := range []string{"42shipped", "43shipped", "5shipped", "shipped"} {
		typ := ws.Text
		if f == 3 {
			typ = ws.Binary
		}
		shipped.Ship(adapter.Form(f), ws.NewPrepared(typ, []byte(text)))
		bad.Ship(adapter.Form(f), ws.NewPrepared(ws.Text, []byte("x")))
	}
	for _, p := range []*adapter.Packet{shipped, bad} {
		if err := io.Adapter().Broadcast(p, adapter.Opts{}); err != nil {
			t.Fatal(err)
		}
	}
	clients[0].Expect(wstest.F(wstest.Text, "42shipped"), wstest.F(wstest.Text, `42["own"]`))
	clients[1].Expect(wstest.F(wstest.Text, "43shipped"), wstest.F(wstest.Text, `42["own"]`))
	clients[2].Expect(wstest.F(wstest.Text, "5shipped"))
	clients[3].Expect(wstest.F(wstest.Binary, "shipped"))
	polling.Want("42shipped", `42["own"]`)
}
