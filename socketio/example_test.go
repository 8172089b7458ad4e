package socketio_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/chaussette/chaussette/socketio"
)

// A chat server.
func Example() {
	io := socketio.NewServer(nil)
	io.OnConnect(func(s *socketio.Socket) {
		s.Join("lobby")
		s.To("lobby").Emit("joined", s.ID())
	})
	io.On("say", func(s *socketio.Socket, text string) (int, error) {
		if text == "" {
			return 0, fmt.Errorf("say something")
		}
		return len(text), io.To("lobby").Emit("said", s.ID(), text)
	})
	io.OnDisconnect(func(s *socketio.Socket, reason socketio.Reason) {
		s.To("lobby").Emit("left", s.ID(), reason)
	})
	http.Handle("/socket.io/", io)
	// http.ListenAndServe(":8080", nil)
}

// Arguments and acknowledgements have Go types.
func ExampleNamespace_On() {
	type order struct {
		Item  string `json:"item"`
		Count int    `json:"count"`
	}
	io := socketio.NewServer(nil)
	io.On("order", func(s *socketio.Socket, o order) (float64, error) {
		if o.Count < 1 {
			return 0, &socketio.Error{Message: "how many?", Data: o}
		}
		return 9.5 * float64(o.Count), nil
	})
	// A handler that waits for its own client takes a context.
	io.On("delete", func(ctx context.Context, s *socketio.Socket, id string) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return socketio.Call[bool](ctx, s, "are you sure", id)
	})
}

// A namespace for those who have a token.
func ExampleNamespace_Use() {
	io := socketio.NewServer(nil)
	admin := io.Of("/admin")
	admin.Use(func(s *socketio.Socket) error {
		var auth struct{ Token string }
		if err := s.Auth().Unmarshal(&auth); err != nil || auth.Token != "secret" {
			return &socketio.Error{Message: "not authorized", Data: map[string]any{"retry": false}}
		}
		s.SetData("admin")
		return nil
	})
}

// All clients in a room are asked, and their answers gathered.
func ExampleBroadcast_EmitWithAck() {
	io := socketio.NewServer(nil)
	defer io.Close()
	answers, err := io.To("players").Timeout(time.Second).EmitWithAck(context.Background(), "ready?")
	fmt.Println(len(answers), err)
	// Output: 0 <nil>
}
