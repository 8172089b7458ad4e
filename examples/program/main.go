// Program is an app with a main of its own, which may do more than serve. It has every
// option of the chaussette command:
//
//	go run ./examples/program --port 9000
//	go run ./examples/program --help
package main

import (
	"github.com/chaussette/chaussette/examples/hello"
	"github.com/chaussette/chaussette/server"
)

func main() { server.Main(hello.App) }
