// Siblingsapp is the app that clients/siblings.js talks to, on several workers at once.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/chaussette/chaussette/server"
	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/ws"
)

func main() { server.Main(App{}) }

// App implements socketio.App.
type App struct{}

// RegisterSocketIO implements socketio.App.
func (App) RegisterSocketIO(io *socketio.Server) {
	io.OnConnect(func(s *socketio.Socket) { s.Join("all") })
	io.On("say", func(_ *socketio.Socket, id string) error { return io.To("all").Emit("said", id) })
	io.On("say with a blob", func(id string, blob []byte) error { return io.To("all").Emit("said", id, blob) })
	io.On("pid", func() int { return os.Getpid() })
	io.On("echo", func(text socketio.Raw) socketio.Raw { return text })
	io.On("count", func(ctx context.Context) (int, error) {
		sockets, err := io.To("all").FetchSockets(ctx)
		return len(sockets), err
	})
	io.On("ask all", func(ctx context.Context, s *socketio.Socket) (int, error) {
		answers, err := s.Broadcast().EmitWithAck(ctx, "question")
		return len(answers), err
	})
	io.OnServerSide("who", func(socketio.Args) ([]any, error) { return []any{os.Getpid()}, nil })
	io.On("siblings", func(ctx context.Context) ([]socketio.Raw, error) {
		answers, err := io.ServerSideEmitWithAck(ctx, "who")
		var pids []socketio.Raw
		for _, a := range answers {
			pids = append(pids, a...)
		}
		return pids, err
	})
	io.On("kick", func(s *socketio.Socket, id socketio.Room) error { return io.To(id).DisconnectSockets(false) })
}

// ServeHTTP answers with the process's id, and sends what is POSTed to all WebSockets.
func (App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		ws.GroupFrom(r.Context(), "all").Send(ws.Text, body)
	}
	fmt.Fprint(w, os.Getpid())
}

// WebSocket implements ws.App.
func (App) WebSocket() ws.Handler { return socket{} }

// socket answers a message with the process's id, and sends one that begins with ! to all
// but its sender.
type socket struct{}

func (socket) Open(c *ws.Conn) { c.Group("all").Add(c) }

func (socket) Message(c *ws.Conn, typ ws.MessageType, p []byte) {
	if len(p) > 0 && p[0] == '!' {
		c.Group("all").Send(typ, p, c)
		return
	}
	_ = c.Send(typ, []byte(strconv.Itoa(os.Getpid())))
}

func (socket) Close(*ws.Conn, *ws.CloseError) {}
