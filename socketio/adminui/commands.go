package adminui

import (
	"fmt"

	"github.com/chaussette/chaussette/socketio"
)

// command registers what pages may do. A filter is a room or the id of a socket; without
// one, everybody in the namespace is meant.
func (a *admin) command() {
	a.ns.On("emit", func(s *socketio.Socket, nsp string, filter *string, event string, args ...socketio.Raw) error {
		return a.do(s, "emit "+event, nsp, filter, func(to socketio.Broadcast) error {
			all := make([]any, len(args))
			for i, arg := range args {
				all[i] = arg
			}
			return to.Emit(event, all...)
		})
	})
	a.ns.On("join", func(s *socketio.Socket, nsp string, room socketio.Room, filter *string) error {
		return a.do(s, "join "+string(room), nsp, filter, func(to socketio.Broadcast) error { return to.SocketsJoin(room) })
	})
	a.ns.On("leave", func(s *socketio.Socket, nsp string, room socketio.Room, filter *string) error {
		return a.do(s, "leave "+string(room), nsp, filter, func(to socketio.Broadcast) error { return to.SocketsLeave(room) })
	})
	a.ns.On("_disconnect", func(s *socketio.Socket, nsp string, closing bool, filter *string) error {
		return a.do(s, "disconnect", nsp, filter, func(to socketio.Broadcast) error { return to.DisconnectSockets(closing) })
	})
}

// do calls f with whom a command is for. A page is answered where it asks for that.
func (a *admin) do(s *socketio.Socket, what, nsp string, filter *string, f func(socketio.Broadcast) error) error {
	room := ""
	if filter != nil {
		room = *filter
	}
	a.log.Info("socket.io admin: command", "command", what, "namespace", nsp, "filter", room, "remote", s.Session().RemoteAddr())
	var err error
	if !a.io.Visit(nsp, func(n *socketio.Namespace) {
		to := n.To()
		if room != "" {
			to = to.To(socketio.Room(room))
		}
		err = f(to)
	}) {
		return fmt.Errorf("no namespace %s", nsp)
	}
	return err
}
