package websocket_test

import (
	"net/http"
	"testing"

	"github.com/chaussette/chaussette/examples/websocket"
	"github.com/chaussette/chaussette/ws/gorilla"
	"github.com/chaussette/chaussette/ws/wstest"
)

func TestCount(t *testing.T) {
	server := wstest.Serve(t, gorilla.New(nil), http.HandlerFunc(websocket.App))
	c := wstest.Dial(t, server.Address, wstest.Handshake{})
	c.Frames(wstest.F(wstest.Text, "one"), wstest.F(wstest.Text, "more"))
	c.Expect(wstest.F(wstest.Text, "1: one"), wstest.F(wstest.Text, "2: more"))
	c.Bye()
}
