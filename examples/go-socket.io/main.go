// An app as it was written for github.com/googollee/go-socket.io, served as it stands: its
// *Server is an http.Handler, and that is all that Chaussette asks for. Nothing of it is
// changed but its last line.
//
//	go run ./examples/go-socket.io
//
// Clients are those of socket.io-client 1 and 2, which is what that library speaks;
// docs/from-go-socket.io.md tells how to have the others, too.
package main

import (
	"log"
	"net/http"

	socketio "github.com/googollee/go-socket.io"

	"github.com/chaussette/chaussette/server"
)

func main() {
	io := socketio.NewServer(nil)
	io.OnConnect("/", func(s socketio.Conn) error {
		s.SetContext("")
		return nil
	})
	io.OnEvent("/", "notice", func(s socketio.Conn, msg string) {
		s.Emit("reply", "have "+msg)
	})
	io.OnEvent("/", "msg", func(s socketio.Conn, msg string) string { return "recv " + msg })
	io.OnError("/", func(_ socketio.Conn, err error) { log.Println("error:", err) })
	io.OnDisconnect("/", func(socketio.Conn, string) {})
	go func() {
		if err := io.Serve(); err != nil {
			log.Fatal(err)
		}
	}()
	defer io.Close()

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", io)
	server.Main(mux)
}
