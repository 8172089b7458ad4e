// Package builtin holds the applications that are part of the command: something to
// see a worker answer with, and something to measure it by.
package builtin

import (
	"net/http"

	"github.com/chaussette/chaussette/examples/chat"
)

// builtins is the table of what there is, in the order in which help shows it.
var builtins = []struct {
	name string
	help string
	open func() http.Handler
}{
	{"hello", "answers hello world", func() http.Handler { return Hello{} }},
	{"echo", "a WebSocket at /ws that echoes, and a page to try it", func() http.Handler { return Echo{} }},
	{"bench", "arithmetic, a wait of 75 to 100 ms, an HTML page; at /ws a WebSocket to put load on", func() http.Handler { return &Bench{} }},
	{"chat", "a chat with rooms, for --backend socketio", func() http.Handler { return chat.New() }},
}

// Lookup finds a built-in by its word.
func Lookup(name string) (open func() http.Handler, ok bool) {
	for _, b := range builtins {
		if b.name == name {
			return b.open, true
		}
	}
	return nil, false
}

// Names are the words of the built-ins.
func Names() []string {
	names := make([]string, len(builtins))
	for i, b := range builtins {
		names[i] = b.name
	}
	return names
}

// Help is a line on what a built-in does, or "" where there is none of this name.
func Help(name string) string {
	for _, b := range builtins {
		if b.name == name {
			return b.help
		}
	}
	return ""
}
