// Chaussette serves an application on a socket that a process manager has opened.
// See chaussette --help, and package server for its signals and exit status.
package main

import (
	"github.com/chaussette/chaussette/app"
	"github.com/chaussette/chaussette/app/golang"
	"github.com/chaussette/chaussette/server"
)

func main() { server.Exec(app.Open, golang.Build, golang.Commands()...) }
