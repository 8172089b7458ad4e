// Hello is an application with a main of its own. It has every option of the chaussette
// command:
//
//	go run ./examples/hello --port 9000
//	go run ./examples/hello --help
package main

import (
	"fmt"
	"net/http"

	"github.com/chaussette/chaussette/server"
)

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello, %s!\n", r.RemoteAddr)
	})
	server.Main(mux)
}
