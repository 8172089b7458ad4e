// Package ticker is an app that is called when there is something to do. On
// --backend ws4py a connection on which nothing happens costs no goroutine. On several
// workers it is one app: what one of them is told, the clients of all hear.
//
//	chaussette --backend ws4py ./examples/websocket-handler.App
package ticker

import (
	"io"
	"net/http"

	"github.com/chaussette/chaussette/ws"
)

// App is the ticker.
var App = &ticker{}

// ticker sends what an operator POSTs to all who have a WebSocket open.
type ticker struct{}

// everyone names the group of all, on every worker.
const everyone = "everyone"

// ServeHTTP takes what is to be sent. Upgrades do not come here: the server has seen that
// ticker is a ws.Handler.
func (*ticker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "POST the news, or connect by WebSocket", http.StatusMethodNotAllowed)
		return
	}
	news, err := io.ReadAll(io.LimitReader(r.Body, 4096))
	if err != nil {
		return
	}
	ws.GroupFrom(r.Context(), everyone).Send(ws.Text, news)
	w.WriteHeader(http.StatusNoContent)
}

// AcceptWebSocket decides on each upgrade.
func (*ticker) AcceptWebSocket(r *http.Request) (*ws.AcceptOptions, error) {
	if r.URL.Query().Get("key") != "secret" {
		return nil, &ws.RefusedError{Status: http.StatusUnauthorized, Reason: "the key is wrong"}
	}
	return &ws.AcceptOptions{Subprotocols: []string{"news"}, Overflow: ws.OverflowDrop}, nil
}

func (*ticker) Open(c *ws.Conn)                          { c.Group(everyone).Add(c) }
func (*ticker) Message(*ws.Conn, ws.MessageType, []byte) {}
func (*ticker) Close(*ws.Conn, *ws.CloseError)           {}
