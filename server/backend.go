package server

import (
	"slices"

	"github.com/chaussette/chaussette/internal/nearest"
)

// EngineKind says who reads and writes a backend's connections.
type EngineKind string

// The engines.
const (
	EngineStd EngineKind = "net/http" // package server/std
)

// Backend is a way to serve: a value of --backend.
type Backend struct {
	Name    string
	Aliases []string // other names, of equal right
	Engine  EngineKind
	// Buffered: the app is called with the whole request, and has returned before its
	// response is sent.
	Buffered bool
	Help     string // a line
}

// backends is the table of what there is, in the order in which help shows it.
var backends = []Backend{
	{Name: "http", Aliases: []string{"wsgiref"}, Engine: EngineStd,
		Help: "net/http, streaming (the default)"},
	{Name: "waitress", Engine: EngineStd, Buffered: true,
		Help: "request and response buffered: a slow client never holds the app"},
	{Name: "gevent", Engine: EngineStd,
		Help: "net/http, streaming"},
	{Name: "eventlet", Engine: EngineStd,
		Help: "net/http, streaming"},
	{Name: "tornado", Engine: EngineStd, Buffered: true,
		Help: "request and response buffered"},
}

// Backends are all backends, in the order in which help shows them.
func Backends() []Backend { return slices.Clone(backends) }

// LookupBackend finds a backend by its name or an alias. The error names what there is,
// and the nearest.
func LookupBackend(name string) (Backend, error) {
	var names []string
	for _, b := range backends {
		if b.Name == name || slices.Contains(b.Aliases, name) {
			return b, nil
		}
		names = append(append(names, b.Name), b.Aliases...)
	}
	return Backend{}, &UnknownError{What: "backend", Name: name, Known: names, Nearest: nearest.To(name, names)}
}

func (b Backend) String() string { return b.Name + " (" + string(b.Engine) + ")" }
