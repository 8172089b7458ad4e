package adminui_test

import (
	"fmt"

	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/socketio/adminui"
	"github.com/chaussette/chaussette/socketio/engineio"
)

// The page at https://admin.socket.io may connect, and has to log in.
func ExampleRegister() {
	io := socketio.NewServer(&socketio.Options{Engine: engineio.Options{
		Origins: []string{"https://admin.socket.io"},
	}})
	defer io.Close()
	if err := adminui.Register(io, &adminui.Options{
		Username:     "admin",
		PasswordHash: "$2a$10$l.sd.X0WHQ8NCaP4YSmcNeuIG.RsWp7QI2vS0wherQw7m.6OYat.m", // of "secret": htpasswd -nB admin
		Mode:         adminui.Production,
	}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("The page connects to", io.Namespaces()[1].Name())
	// Output: The page connects to /admin
}
