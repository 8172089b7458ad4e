package ws_test

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/gorilla"
	"github.com/chaussette/chaussette/ws/wstest"
)

// FuzzHandshake has requests of all kinds upgraded: what succeeds is answered by a response
// that a client takes, with nothing in it that the request has smuggled in.
func FuzzHandshake(f *testing.F) {
	good := string(wstest.Handshake{}.Request("example.com"))
	f.Add(good)
	for _, field := range []string{
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: x", "Origin: null", "Origin: http://example.com", "Origin: http://[::1",
		"Sec-WebSocket-Protocol: chat, superchat", "Sec-WebSocket-Protocol: \x00,\xff", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=9",
		"Sec-WebSocket-Extensions: permessage-deflate;a=\"\\\"\",,;", "Connection: close", "Upgrade: h2c", "Sec-WebSocket-Version: 8", "Content-Length: 5",
	} {
		f.Add(strings.Replace(good, "\r\n\r\n", "\r\n"+field+"\r\n\r\n", 1))
	}
	f.Add(strings.Replace(good, "GET", "POST", 1))
	f.Add(strings.Replace(good, "HTTP/1.1", "HTTP/1.0", 1))
	engine := gorilla.New(&ws.Config{Deflate: ws.Deflate{Enabled: true}, Origins: []string{"*.example.com"}})
	f.Cleanup(func() {
		if err := engine.Close(context.Background()); err != nil {
			f.Error(err)
		}
	})
	options := &ws.AcceptOptions{Subprotocols: []string{"chat"}, Header: http.Header{"Set-Cookie": {"a=b"}}}
	f.Fuzz(func(t *testing.T, request string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(request)))
		if err != nil {
			return
		}
		h, err := ws.NewHandshake(engine, r, options)
		if err != nil {
			refused, ok := err.(*ws.RefusedError)
			if !ok || refused.Status < 400 || refused.Reason == "" {
				t.Errorf("refused with %v", err)
			}
			return
		}
		if r.Method != http.MethodGet || !ws.IsUpgrade(r) || len(r.Header["Sec-Websocket-Key"]) != 1 || r.Header.Get("Sec-Websocket-Version") == "" {
			t.Errorf("taken: %q", request)
		}
		in := bufio.NewReader(bytes.NewReader(h.Response))
		answer, err := http.ReadResponse(in, r)
		if err != nil {
			t.Fatalf("answer %q: %v", h.Response, err)
		}
		if answer.StatusCode != http.StatusSwitchingProtocols || in.Buffered() > 0 {
			t.Errorf("answer %q", h.Response)
		}
		for name := range answer.Header {
			switch name {
			case "Upgrade", "Connection", "Sec-Websocket-Accept", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions", "Set-Cookie":
			default:
				t.Errorf("a field %s in %q", name, h.Response)
			}
		}
		if p := answer.Header.Get("Sec-Websocket-Protocol"); p != "" && p != "chat" {
			t.Errorf("subprotocol %q", p)
		}
	})
}
