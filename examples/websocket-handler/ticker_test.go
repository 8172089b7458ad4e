package ticker

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/gorilla"
	"github.com/chaussette/chaussette/ws/wstest"
)

func TestNews(t *testing.T) {
	app, engine := &ticker{}, gorilla.New(nil)
	server := wstest.Serve(t, engine, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ws.IsUpgrade(r) {
			app.ServeHTTP(w, r)
			return
		}
		options, err := app.AcceptWebSocket(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		ws.Serve(w, r, options, app)
	}))
	if c := wstest.DialRaw(t, server.Address, wstest.Handshake{}); c.Response.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a key: %s", c.Response.Status)
	}
	c := wstest.Dial(t, server.Address, wstest.Handshake{Path: "/?key=secret"})
	for engine.Config().Groups.Group(everyone).Len() == 0 { // the answer to the handshake comes before Open
		c.Frames(wstest.F(wstest.Ping, ""))
		c.Expect(wstest.F(wstest.Pong, ""))
	}
	r, err := http.Post("http://"+server.Address, "text/plain", strings.NewReader("it rains"))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	c.Expect(wstest.F(wstest.Text, "it rains"))
	c.Bye()
}
