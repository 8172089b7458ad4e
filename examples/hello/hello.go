// Package hello is the smallest app: a name that it exports is served.
//
//	chaussette ./examples/hello.App
//	chaussette build -o hello ./examples/hello.App
package hello

import (
	"fmt"
	"net/http"
)

// App greets whoever asks.
var App = newMux()

func newMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello, %s!\n", r.RemoteAddr)
	})
	return mux
}
