// Protocolapp is the app that the conformance suites of the Engine.IO and Socket.IO
// protocols talk to, with the options of the chaussette command:
//
//	go run ./webtest/protocolapp --port 3000 --socketio-revisions 4 \
//		--socketio-ping-interval 300ms --socketio-ping-timeout 200ms --socketio-max-payload 1000000
//
// At /engine.io/ is a bare echo of package engineio; at /socket.io/ are the namespaces /
// and /custom. Pages of any origin may connect.
package main

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/chaussette/chaussette/server"
	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/socketio/engineio"
)

func main() {
	// The app is nothing without Socket.IO.
	if !slices.ContainsFunc(os.Args[1:], func(arg string) bool { return strings.HasPrefix(arg, "--backend") }) {
		os.Args = append(os.Args, "--backend", "socketio")
	}
	if os.Getenv("CHAUSSETTE_CORS_ORIGIN") == "" {
		_ = os.Setenv("CHAUSSETTE_CORS_ORIGIN", "*")
	}
	if os.Getenv("CHAUSSETTE_SOCKETIO_CONNECT_TIMEOUT") == "" {
		_ = os.Setenv("CHAUSSETTE_SOCKETIO_CONNECT_TIMEOUT", time.Second.String())
	}
	server.Main(&App{})
}

// App implements socketio.App.
type App struct {
	echo *engineio.Server
}

// RegisterSocketIO implements socketio.App.
func (a *App) RegisterSocketIO(io *socketio.Server) {
	options := io.Options().Engine
	options.Path = "/engine.io/"
	a.echo = engineio.NewServer(echo{}, &options)

	for _, n := range []*socketio.Namespace{io.Namespace, io.Of("/custom")} {
		n.OnConnect(func(s *socketio.Socket) { _ = s.Emit("auth", s.Auth()) })
	}
	io.On("message", func(s *socketio.Socket, e *socketio.Event) error {
		return s.Emit("message-back", all(e)...)
	})
	io.On("message-with-ack", func(_ *socketio.Socket, e *socketio.Event) error {
		return e.Ack(all(e)...)
	})
}

func all(e *socketio.Event) []any {
	args := make([]any, len(e.Args))
	for i, a := range e.Args {
		args[i] = a
	}
	return args
}

func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a.echo == nil {
		http.Error(w, "this app needs --backend socketio", http.StatusNotFound)
		return
	}
	a.echo.ServeHTTP(w, r)
}

// Close implements app.Closer.
func (a *App) Close(context.Context) error {
	if a.echo == nil {
		return nil
	}
	return a.echo.Close()
}

// echo sends each message back.
type echo struct{}

func (echo) Open(*engineio.Session)                          {}
func (echo) Message(s *engineio.Session, m engineio.Message) { _ = s.Send(m) }
func (echo) Close(*engineio.Session, engineio.Reason)        {}
