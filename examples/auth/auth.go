// Package auth lets clients in by a token, and has a namespace for administrators and one for
// each team.
//
//	chaussette --backend socketio ./examples/auth.App
//
//	const admin = io('/admin', { auth: { token: 'root' } });
package auth

import (
	"crypto/subtle"
	"regexp"

	"github.com/chaussette/chaussette/socketio"
)

// App is what is served.
var App doors

// doors has users by their tokens. A real one would look them up.
type doors struct{}

// User is kept with a socket.
type User struct {
	Name  string `json:"name"`
	Admin bool   `json:"admin"`
}

var users = map[string]User{"root": {"Ada", true}, "guest": {"Bob", false}}

// authenticate is a middleware: it runs before a client is let in. The client gets the
// error as connect_error.
func authenticate(s *socketio.Socket) error {
	var auth struct{ Token string }
	_ = s.Auth().Unmarshal(&auth)
	for token, user := range users {
		if subtle.ConstantTimeCompare([]byte(token), []byte(auth.Token)) == 1 {
			s.SetData(user)
			return nil
		}
	}
	return &socketio.Error{Message: "not authorized", Data: map[string]string{"hint": "send a token"}}
}

// RegisterSocketIO implements socketio.App.
func (doors) RegisterSocketIO(io *socketio.Server) {
	io.DataType(User{})
	io.Use(authenticate)
	io.On("who am i", func(s *socketio.Socket) any { return s.Data() })

	admin := io.Of("/admin")
	admin.DataType(User{})
	admin.Use(authenticate)
	admin.Use(func(s *socketio.Socket) error {
		if user, _ := s.Data().(User); !user.Admin {
			return &socketio.Error{Message: "administrators only"}
		}
		return nil
	})
	admin.On("announce", func(text string) error { return io.Emit("announcement", text) })

	// A namespace for each team: /team-red, /team-blue...
	team := regexp.MustCompile(`^/team-[a-z]+$`)
	teams := io.OfMatch(team.MatchString)
	teams.Use(authenticate)
	teams.On("say", func(s *socketio.Socket, text string) error {
		return s.Namespace().Emit("said", s.Data().(User).Name, text)
	})
}
