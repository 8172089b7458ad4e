// Brokersapp is the app that brokers/interop.js talks to, with the events of
// brokers/server.js: workers on several machines are one server, and Node's are part of it.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/chaussette/chaussette/server"
	"github.com/chaussette/chaussette/socketio"
)

func main() { server.Main(&App{name: fmt.Sprintf("go-%d", os.Getpid())}) }

// App implements socketio.App.
type App struct {
	name string

	mu    sync.Mutex // guards what follows
	heard []string
}

// whom is what a client addresses.
type whom struct {
	Rooms, Except []socketio.Room
	Volatile      bool
	Compress      *bool // nil is what nobody has said
	Timeout       int   // of acks, in milliseconds
}

func (o whom) of(io *socketio.Server) socketio.Broadcast {
	b := io.To(o.Rooms...).Except(o.Except...).Timeout(time.Duration(o.Timeout) * time.Millisecond)
	if o.Volatile {
		b = b.Volatile()
	}
	if o.Compress != nil && !*o.Compress {
		b = b.Uncompressed()
	}
	return b
}

// RegisterSocketIO implements socketio.App.
func (a *App) RegisterSocketIO(io *socketio.Server) {
	io.OnConnect(func(s *socketio.Socket) {
		var auth struct{ Name string }
		if s.Auth().Unmarshal(&auth) == nil {
			s.SetData(map[string]string{"name": auth.Name})
		}
		s.Join("all")
	})
	io.On("join", func(s *socketio.Socket, rooms ...socketio.Room) { s.Join(rooms...) })
	io.On("emit", func(o whom, args ...socketio.Raw) error { return o.of(io).Emit("said", values(args)...) })
	io.On("ask", func(ctx context.Context, o whom, arg socketio.Raw) (map[string]any, error) {
		all, err := o.of(io).EmitWithAck(ctx, "question", arg)
		answers := []socketio.Raw{}
		for _, args := range all {
			answers = append(answers, args...)
		}
		missing := (*socketio.MissingAcksError)(nil)
		if errors.As(err, &missing) {
			return map[string]any{"answers": answers, "missing": true}, nil
		}
		return map[string]any{"answers": answers}, err
	})
	io.On("fetch", func(ctx context.Context, o whom) ([]map[string]any, error) {
		found, err := o.of(io).FetchSockets(ctx)
		list := []map[string]any{}
		for _, s := range found {
			h := s.Handshake
			list = append(list, map[string]any{"id": s.ID, "rooms": s.Rooms, "data": s.Data, "auth": h.Auth, "url": h.URL, "address": h.Address,
				"agent": http.Header(h.Headers).Get("User-Agent"), "issued": h.Issued.UnixMilli()})
		}
		return list, err
	})
	io.On("move", func(o whom, join bool, rooms []socketio.Room) error {
		if join {
			return o.of(io).SocketsJoin(rooms...)
		}
		return o.of(io).SocketsLeave(rooms...)
	})
	io.On("kick", func(o whom, closing bool) error { return o.of(io).DisconnectSockets(closing) })
	io.On("name", func() string { return a.name })
	io.On("rooms", func(ctx context.Context) ([]socketio.Room, error) { return io.Adapter().AllRooms(ctx) })
	a.serverSide(io)
}

// serverSide is what goes from server to server.
func (a *App) serverSide(io *socketio.Server) {
	io.OnServerSide("tell", func(args socketio.Args) ([]any, error) {
		var text string
		if err := args.Decode(&text); err != nil {
			return nil, err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.heard = append(a.heard, text)
		return nil, nil
	})
	io.OnServerSide("who", func(args socketio.Args) ([]any, error) {
		var text string
		err := args.Decode(&text)
		return []any{a.name + " " + text}, err
	})
	io.On("tell", func(text string) error { return io.ServerSideEmit("tell", text) })
	io.On("who", func(ctx context.Context, text string) ([]socketio.Raw, error) {
		answers, err := io.ServerSideEmitWithAck(ctx, "who", text)
		all := []socketio.Raw{}
		for _, args := range answers {
			all = append(all, args...)
		}
		return all, err
	})
	io.On("heard", func() []string {
		a.mu.Lock()
		defer a.mu.Unlock()
		return append([]string{}, a.heard...)
	})
}

func values(args []socketio.Raw) []any {
	all := make([]any, len(args))
	for i, a := range args {
		all[i] = a
	}
	return all
}

func (*App) ServeHTTP(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
