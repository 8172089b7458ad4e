package builtin

import (
	"errors"

	"github.com/chaussette/chaussette/socketio"
)

// RegisterSocketIO implements socketio.App: what a load generator asks for. echo is
// acknowledged with its arguments; join puts its sender into a room; shout sends its
// second argument to a room as heard.
func (*Bench) RegisterSocketIO(io *socketio.Server) {
	io.On("echo", func(_ *socketio.Socket, e *socketio.Event) error {
		args := make([]any, len(e.Args))
		for i, a := range e.Args {
			args[i] = a
		}
		return e.Ack(args...)
	})
	io.On("join", func(s *socketio.Socket, room socketio.Room) socketio.Room {
		s.Join(room)
		return room
	})
	io.On("shout", func(_ *socketio.Socket, e *socketio.Event) error {
		var room socketio.Room
		if len(e.Args) != 2 {
			return errors.New("shout wants a room and a payload")
		}
		if err := e.Args.Decode(&room); err != nil {
			return err
		}
		return io.To(room).Emit("heard", e.Args[1])
	})
}
