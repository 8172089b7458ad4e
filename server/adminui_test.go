package server_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/server"
	"github.com/chaussette/chaussette/socketio/adminui"
)

// What is wrong with the admin UI is said before anything is served.
func TestAdminConfig(t *testing.T) {
	for name, c := range map[string]struct {
		app  http.Handler
		o    adminui.Options
		want string
	}{
		"no events": {http.NotFoundHandler(), adminui.Options{NoAuth: true}, "registers no Socket.IO events"},
		"no hash":   {events{}, adminui.Options{Username: "ada"}, "password hash"},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := server.New(c.app, server.Config{Backend: "socketio", Admin: &c.o, Address: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
			if err == nil {
				err = w.Run(t.Context())
			}
			if err == nil || server.ExitStatus(err) != 2 || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v (exit status %d), want %q", err, server.ExitStatus(err), c.want)
			}
		})
	}
}
