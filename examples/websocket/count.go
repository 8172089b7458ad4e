// Package websocket is an app in the plain way: a goroutine reads and writes one connection. It
// runs on both backends:
//
//	chaussette --backend websocket ./examples/websocket.App
//	chaussette --backend ws4py ./examples/websocket.App
package websocket

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/chaussette/chaussette/ws"
)

// App answers each message with its number, and closes after a minute of silence.
func App(w http.ResponseWriter, r *http.Request) {
	c, err := ws.Accept(w, r, &ws.AcceptOptions{MaxMessageSize: 4096})
	if err != nil {
		return // the client has been answered
	}
	defer c.Close(ws.StatusNormal, "")
	for i := 1; ; i++ {
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		_, text, err := c.Read(ctx)
		cancel()
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), ws.Text, fmt.Appendf(nil, "%d: %s", i, text)); err != nil {
			return
		}
	}
}
