package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"

	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/ws"
)

// Maker makes the App that a program serves. A worker calls it once, when its log is open.
//
// The functions below make Makers of all that a Go app can be. The program that
// app/golang writes around a Go app calls one of them; so can a main of one's own:
//
//	func main() { server.MainOf("chat", app.FromWebSocket(room)) }
type Maker func() (App, error)

// FromHandler serves h as it stands. A *Server of github.com/googollee/go-socket.io is
// run and closed as well.
func FromHandler[T http.Handler](h T) Maker {
	return func() (App, error) { return complete(h) }
}

// FromFunc serves f.
func FromFunc(f func(http.ResponseWriter, *http.Request)) Maker {
	return func() (App, error) {
		if f == nil {
			return nil, errNil
		}
		return http.HandlerFunc(f), nil
	}
}

// FromNew serves what f returns.
func FromNew[T http.Handler](f func() T) Maker {
	return FromOpen(func() (T, error) {
		if f == nil {
			var none T
			return none, errNil
		}
		return f(), nil
	})
}

// FromOpen serves what f returns, unless there is an error.
func FromOpen[T http.Handler](f func() (T, error)) Maker {
	return func() (App, error) {
		if f == nil {
			return nil, errNil
		}
		h, err := f()
		if err != nil {
			return nil, err
		}
		return complete(h)
	}
}

// FromWebSocket serves h, on a backend that speaks WebSocket: each request to upgrade
// becomes a connection of it, and others get 426.
func FromWebSocket(h ws.Handler) Maker {
	return func() (App, error) {
		if isNil(h) {
			return nil, errNil
		}
		return webSocket{h}, nil
	}
}

// FromSocketIO serves a, which needs a backend that has Socket.IO.
func FromSocketIO(a socketio.App) Maker {
	return func() (App, error) {
		if isNil(a) {
			return nil, errNil
		}
		return socketIO{a}, nil
	}
}

var errNil = errors.New("is nil: nothing was assigned to it")

func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Func, reflect.Map, reflect.Interface, reflect.Chan, reflect.Slice:
		return r.IsNil()
	}
	return false
}

// complete is h with what its package wants done for it.
func complete(h http.Handler) (App, error) {
	if isNil(h) {
		return nil, errNil
	}
	if s, ok := h.(goSocketIOServer); ok && isGoSocketIO(h) {
		return &goSocketIO{goSocketIOServer: s}, nil
	}
	return h, nil
}

// webSocket is an App of a ws.Handler, to which the backends that speak WebSocket pass
// each request to upgrade. What comes here is another one.
type webSocket struct{ handler ws.Handler }

func (a webSocket) String() string { return fmt.Sprintf("%T", a.handler) }

// WebSocket implements ws.App.
func (a webSocket) WebSocket() ws.Handler { return a.handler }

func (a webSocket) Start(ctx context.Context) error {
	if s, ok := a.handler.(Starter); ok {
		return s.Start(ctx)
	}
	return nil
}

func (a webSocket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	reason := "this app speaks WebSocket, and this is no request to upgrade"
	if ws.IsUpgrade(r) {
		reason = "this app speaks WebSocket, and the backend does not: see --backend websocket"
	}
	ws.Refuse(w, r, slog.Default(), &ws.RefusedError{Status: http.StatusUpgradeRequired, Reason: reason})
}

// socketIO is an App that has nothing beside its Socket.IO.
type socketIO struct{ socketio.App }

func (a socketIO) String() string { return fmt.Sprintf("%T", a.App) }

func (a socketIO) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "there is nothing here but Socket.IO, by --backend socketio", http.StatusNotFound)
}

// goSocketIOServer is what a *Server of github.com/googollee/go-socket.io is. Its Serve
// has to run for its clients to be heard, and returns after Close.
type goSocketIOServer interface {
	http.Handler
	Serve() error
	Close() error
}

// isGoSocketIO tells by the package: other types have these methods with other meanings.
func isGoSocketIO(h http.Handler) bool {
	t := reflect.TypeOf(h)
	return t.Kind() == reflect.Pointer && t.Elem().PkgPath() == "github.com/googollee/go-socket.io"
}

// goSocketIO runs the server while it is served.
type goSocketIO struct {
	goSocketIOServer
	served chan error
}

func (a *goSocketIO) String() string { return fmt.Sprintf("%T", a.goSocketIOServer) }

// Start implements Starter.
func (a *goSocketIO) Start(context.Context) error {
	a.served = make(chan error, 1)
	go func() { a.served <- a.Serve() }()
	return nil
}

// Close implements Closer, in the place of the server's Close.
func (a *goSocketIO) Close(ctx context.Context) error {
	if err := a.goSocketIOServer.Close(); err != nil {
		return err
	}
	select {
	case <-a.served: // io.EOF, as it was closed
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
