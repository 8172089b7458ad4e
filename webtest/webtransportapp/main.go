// Webtransportapp is the app that clients/webtransport.js talks to.
package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"

	"github.com/chaussette/chaussette/server"
	"github.com/chaussette/chaussette/socketio"
)

func main() { server.Main(App{}) }

// App implements socketio.App.
type App struct{}

// ServeHTTP serves a page with nothing on it.
func (App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte("<!DOCTYPE html><title>WebTransport</title>"))
}

// RegisterSocketIO implements socketio.App.
func (App) RegisterSocketIO(io *socketio.Server) {
	io.On("echo", func(e *socketio.Event, all ...socketio.Raw) error {
		var args []any
		for _, a := range all {
			args = append(args, a)
		}
		return e.Ack(args...)
	})
	io.On("ask me", func(ctx context.Context, s *socketio.Socket, n int) (int, error) {
		return socketio.Call[int](ctx, s, "question", n)
	})
	io.On("send me a blob", func(s *socketio.Socket, size int) error {
		return s.Emit("blob", map[string]any{"data": make([]byte, size)})
	})
	io.On("count", func(ctx context.Context, s *socketio.Socket, n int) error {
		for i := range n {
			if err := s.Emit("counted", i); err != nil {
				return err
			}
		}
		return nil
	})
	io.On("say", func(n int) error { return io.Emit("said", n) })
	io.On("transport", func(s *socketio.Socket) string { return string(s.Session().Transport()) })
	io.On("pid", func() int { return os.Getpid() })
	io.On("throw me out", func(s *socketio.Socket) error {
		err := s.Emit("last words", "bye")
		s.Disconnect(true)
		return err
	})
	io.OnDisconnect(func(s *socketio.Socket, reason socketio.Reason) {
		slog.Info("a client has left", "reason", reason, "transport", s.Session().Transport())
	})
}
