package wstest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/ws"
)

// defaults is the zero Config.
var defaults ws.Config

func closeAfter(t testing.TB, engine ws.Engine) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := engine.Close(ctx); err != nil {
			t.Errorf("close the engine: %v", err)
		}
	})
}

func runHandshake(t *testing.T, newEngine NewEngine, start Start) {
	options := &ws.AcceptOptions{Subprotocols: []string{"chat.v2", "chat"}, Header: http.Header{"Set-Cookie": {"a=b"}, "X-Split": {"a\r\nb: c"}}}
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { ws.Serve(w, r, options, Echo{}) })
	server := start(t, newEngine(t, ws.Config{Origins: []string{"*.friends.example"}, MaxConnections: 50}), app)
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Add(pairs[i], pairs[i+1])
		}
		return h
	}
	tests := []struct {
		name   string
		shake  Handshake
		status int
		answer map[string]string
	}{
		{"good", Handshake{}, 101, map[string]string{"Set-Cookie": "a=b", "Upgrade": "websocket", "Connection": "Upgrade", "X-Split": "", "Sec-Websocket-Protocol": ""}},
		{"lists and case", Handshake{Header: header("Connection", "keep-alive, UPGRADE", "Upgrade", "WebSocket")}, 101, nil},
		{"no upgrade", Handshake{Without: []string{"Upgrade"}}, 426, map[string]string{"Upgrade": "websocket", "Sec-Websocket-Version": "13"}},
		{"no connection", Handshake{Without: []string{"Connection"}}, 400, nil},
		{"version 8", Handshake{Header: header("Sec-WebSocket-Version", "8")}, 426, map[string]string{"Sec-Websocket-Version": "13"}},
		{"no version", Handshake{Without: []string{"Sec-WebSocket-Version"}}, 426, map[string]string{"Sec-Websocket-Version": "13"}},
		{"no key", Handshake{Without: []string{"Sec-WebSocket-Key"}}, 400, nil},
		{"two keys", Handshake{Header: header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")}, 400, nil},
		{"short key", Handshake{Header: header("Sec-WebSocket-Key", "dGhlIHNhbXBsZQ==")}, 400, nil},
		{"key not base64", Handshake{Header: header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j!!==")}, 400, nil},
		{"own origin", Handshake{Header: header("Origin", "http://"+server.Address)}, 101, nil},
		{"own origin by TLS", Handshake{Host: "example.com:443", Header: header("Origin", "https://EXAMPLE.com")}, 101, nil},
		{"friend", Handshake{Header: header("Origin", "https://best.friends.example")}, 101, nil},
		{"foreign origin", Handshake{Header: header("Origin", "https://evil.example")}, 403, nil},
		{"no origin at all", Handshake{Header: header("Origin", "null")}, 403, nil},
		{"subprotocol", Handshake{Header: header("Sec-WebSocket-Protocol", "soap, chat, chat.v2")}, 101, map[string]string{"Sec-Websocket-Protocol": "chat.v2"}},
		{"unknown subprotocol", Handshake{Header: header("Sec-WebSocket-Protocol", "soap")}, 101, map[string]string{"Sec-Websocket-Protocol": ""}},
		{"deflate is off", Handshake{Header: header("Sec-WebSocket-Extensions", "permessage-deflate")}, 101, map[string]string{"Sec-Websocket-Extensions": ""}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := DialRaw(t, server.Address, test.shake)
			if c.Response.StatusCode != test.status {
				t.Fatalf("got %s, want %d", c.Response.Status, test.status)
			}
			for name, want := range test.answer {
				if got := strings.Join(c.Response.Header[name], "|"); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if test.status != 101 {
				if body, _ := io.ReadAll(c.Response.Body); len(body) < 10 {
					t.Errorf("the answer does not say why: %q", body)
				}
				return
			}
			c.Frames(F(Text, "x"))
			c.Expect(F(Text, "x"))
			c.Bye()
		})
	}

	t.Run("greeting", func(t *testing.T) {
		common := &ws.AcceptOptions{MaxMessageSize: 100}
		configs := make(chan *ws.Config, 2)
		server := start(t, newEngine(t, ws.Config{}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			greeting := ws.Prepare(ws.Message{Type: ws.Text, Data: []byte("hello")}, ws.Message{Type: ws.Binary, Data: []byte(r.URL.Path)})
			c, err := ws.Serve(w, r, common.With(http.Header{"X-Path": {r.URL.Path}}, greeting), Echo{})
			if err != nil {
				t.Error(err)
				return
			}
			configs <- c.Config()
		}))
		for _, path := range []string{"/a", "/b"} {
			c := Dial(t, server.Address, Handshake{Path: path})
			if got := c.Response.Header.Get("X-Path"); got != path {
				t.Errorf("X-Path is %q", got)
			}
			c.Expect(F(Text, "hello"), F(Binary, path))
			c.Frames(F(Text, "x"))
			c.Expect(F(Text, "x"))
			c.Bye()
		}
		// What is the same for all is there once.
		if a, b := <-configs, <-configs; a != b || a.MaxMessageSize != 100 {
			t.Errorf("configurations %p and %p, %+v", a, b, a)
		}
	})

	t.Run("POST", func(t *testing.T) {
		r, err := http.Post("http://"+server.Address+"/", "text/plain", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("got %s", r.Status)
		}
	})
	t.Run("too many connections", func(t *testing.T) {
		server := start(t, newEngine(t, ws.Config{MaxConnections: 2}), EchoApp(false))
		first := Dial(t, server.Address, Handshake{})
		Dial(t, server.Address, Handshake{})
		if c := DialRaw(t, server.Address, Handshake{}); c.Response.StatusCode != 503 {
			t.Errorf("got %s, want 503", c.Response.Status)
		}
		first.Bye()
		await(t, "room for another", func() bool { return server.Engine.Len() < 2 })
		Dial(t, server.Address, Handshake{})
	})
	t.Run("frames with the handshake", func(t *testing.T) {
		c := DialRaw(t, server.Address, Handshake{})
		c.Bye()
		nc := NewClient(t, dialTCP(t, server.Address))
		nc.Send(append(Handshake{}.Request(server.Address), sends(F(Text, "early"), F(Ping, "bird"))...))
		status, err := nc.in.ReadString('\n')
		if err != nil || !strings.Contains(status, "101") {
			t.Fatalf("got %q, %v", status, err)
		}
		for line := ""; line != "\r\n"; {
			if line, err = nc.in.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		nc.Expect(F(Text, "early"), F(Pong, "bird"))
		nc.Bye()
	})
	t.Run("what the app sees", func(t *testing.T) {
		seen := make(chan error, 1)
		app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := ws.Accept(w, r, options)
			if err != nil {
				seen <- err
				return
			}
			q := c.Request()
			switch {
			case c.Subprotocol() != "chat":
				err = fmt.Errorf("subprotocol %q", c.Subprotocol())
			case q.URL.Path != "/room" || q.URL.Query().Get("id") != "7" || q.Header.Get("Cookie") != "s=1" || q.Host != r.Host:
				err = fmt.Errorf("request %v", q)
			case q.RemoteAddr != r.RemoteAddr || c.RemoteAddr() != r.RemoteAddr:
				err = fmt.Errorf("remote address %q and %q, want %q", q.RemoteAddr, c.RemoteAddr(), r.RemoteAddr)
			}
			c.Close(ws.StatusNormal, "")
			seen <- err
		})
		server := start(t, newEngine(t, defaults), app)
		c := Dial(t, server.Address, Handshake{Path: "/room?id=7", Header: header("Cookie", "s=1", "Sec-WebSocket-Protocol", "chat")})
		if err := <-seen; err != nil {
			t.Error(err)
		}
		c.Expect(CloseFrame(ws.StatusNormal, ""))
	})
}
