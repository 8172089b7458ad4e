package server

import (
	"slices"

	"github.com/chaussette/chaussette/app/python"
	"github.com/chaussette/chaussette/internal/nearest"
)

// EngineKind says who reads and writes a backend's connections.
type EngineKind string

// The engines.
const (
	EngineStd  EngineKind = "net/http"   // package server/std
	EngineLoop EngineKind = "event loop" // package loop/http1
)

// Upgrade says when a backend upgrades a request to WebSocket.
type Upgrade string

// When it may be.
const (
	NoUpgrade     Upgrade = ""           // never
	UpgradeBefore Upgrade = "before"     // before the app is called, which gets an open connection (ws/gorilla)
	UpgradeByApp  Upgrade = "by the app" // when the app says so, and as it says (ws/epoll)
)

// Backend is a way to serve: a value of --backend.
type Backend struct {
	Name    string
	Aliases []string // other names, of equal right
	Engine  EngineKind
	// Buffered: the app is called with the whole request, and has returned before its
	// response is sent.
	Buffered  bool
	Python    python.Mode // how a Python app is run
	WebSocket Upgrade     // who speaks WebSocket, and when
	SocketIO  bool        // Socket.IO before the app
	Help      string      // a line
}

// backends is the table of what there is, in the order in which help shows it.
var backends = []Backend{
	{Name: "http", Aliases: []string{"wsgiref"}, Engine: EngineStd, Python: python.Serial,
		Help: "streaming; Python: one request at a time (the default)"},
	{Name: "waitress", Engine: EngineLoop, Buffered: true, Python: python.Threads,
		Help: "event loop, request and response buffered: a slow client never holds the app; Python: threads"},
	{Name: "gevent", Engine: EngineStd, Python: python.Gevent,
		Help: "streaming; Python: a greenlet a request"},
	{Name: "eventlet", Engine: EngineStd, Python: python.Eventlet,
		Help: "streaming; Python: a green thread a request"},
	{Name: "tornado", Engine: EngineStd, Buffered: true, Python: python.Tornado,
		Help: "request and response buffered; Python: on the Tornado loop"},
	{Name: "fastgevent", Engine: EngineLoop, Buffered: true, Python: python.Gevent,
		Help: "event loop, response buffered; Python: a greenlet a request"},
	{Name: "meinheld", Engine: EngineLoop, Python: python.Gevent,
		Help: "event loop; Python: a greenlet a request"},
	{Name: "bjoern", Engine: EngineLoop, Python: python.Serial,
		Help: "event loop; Python: one request at a time"},
	{Name: "websocket", Aliases: []string{"geventwebsocket"}, Engine: EngineStd, Python: python.Gevent, WebSocket: UpgradeBefore,
		Help: "WebSocket, open before the app is called; Python: a greenlet a request"},
	{Name: "ws4py", Aliases: []string{"geventws4py"}, Engine: EngineLoop, Python: python.Gevent, WebSocket: UpgradeByApp,
		Help: "WebSocket, opened by the app, idle connections for next to nothing; Python: a greenlet a request"},
	{Name: "socketio", Engine: EngineLoop, Python: python.Gevent, WebSocket: UpgradeByApp, SocketIO: true,
		Help: "Socket.IO for apps that have it, for every client since 0.9; as ws4py for the rest"},
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
