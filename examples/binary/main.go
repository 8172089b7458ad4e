// Binary takes and sends bytes, at any depth of the arguments: []byte is an ArrayBuffer or
// a Buffer on the other side, and no base64.
//
//	go run ./examples/binary --backend socketio
package main

import (
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/chaussette/chaussette/server"
	"github.com/chaussette/chaussette/socketio"
)

func main() { server.Main(App{}) }

// App keeps files for whoever is there.
type App struct{}

func (App) ServeHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

// File is what clients send: {name: 'a.png', body: new Uint8Array(...)}.
type File struct {
	Name string    `json:"name"`
	Body []byte    `json:"body"`
	Sum  []byte    `json:"sum"`
	At   time.Time `json:"at"`
}

// RegisterSocketIO implements socketio.App.
func (App) RegisterSocketIO(io *socketio.Server) {
	io.On("upload", func(s *socketio.Socket, f File) (sum []byte, err error) {
		digest := sha256.Sum256(f.Body)
		f.Sum, f.At = digest[:], time.Now()
		return f.Sum, s.Broadcast().Emit("file", f)
	})
}
