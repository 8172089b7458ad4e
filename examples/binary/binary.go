// Package binary takes and sends bytes, at any depth of the arguments: []byte is an ArrayBuffer or
// a Buffer on the other side, and no base64.
//
//	chaussette --backend socketio ./examples/binary.App
package binary

import (
	"crypto/sha256"
	"time"

	"github.com/chaussette/chaussette/socketio"
)

// App is what is served.
var App files

// files keeps files for whoever is there.
type files struct{}

// File is what clients send: {name: 'a.png', body: new Uint8Array(...)}.
type File struct {
	Name string    `json:"name"`
	Body []byte    `json:"body"`
	Sum  []byte    `json:"sum"`
	At   time.Time `json:"at"`
}

// RegisterSocketIO implements socketio.App.
func (files) RegisterSocketIO(io *socketio.Server) {
	io.On("upload", func(s *socketio.Socket, f File) (sum []byte, err error) {
		digest := sha256.Sum256(f.Body)
		f.Sum, f.At = digest[:], time.Now()
		return f.Sum, s.Broadcast().Emit("file", f)
	})
}
