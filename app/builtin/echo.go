package builtin

import (
	_ "embed"
	"net/http"

	"github.com/chaussette/chaussette/ws"
)

// socketPath is where the built-ins have their WebSocket.
const socketPath = "/ws"

// onlyAt refuses WebSockets elsewhere.
func onlyAt(r *http.Request) (*ws.AcceptOptions, error) {
	if r.URL.Path != socketPath {
		return nil, &ws.RefusedError{Status: http.StatusNotFound, Reason: "the WebSocket is at " + socketPath}
	}
	return nil, nil
}

// noSocket answers what should have been an upgrade.
func noSocket(w http.ResponseWriter, r *http.Request) {
	if ws.IsUpgrade(r) {
		http.Error(w, "This backend speaks no WebSocket: start the worker with --backend websocket or ws4py.", http.StatusNotImplemented)
		return
	}
	w.Header().Set("Upgrade", "websocket")
	http.Error(w, "This is a WebSocket: connect with ws://"+r.Host+socketPath, http.StatusUpgradeRequired)
}

//go:embed echo.html
var echoPage []byte

// Echo sends back each WebSocket message; a page at / is a console to try it with.
type Echo struct{}

func (Echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(echoPage)
	case socketPath:
		noSocket(w, r)
	default:
		http.NotFound(w, r)
	}
}

// AcceptWebSocket implements ws.Acceptor.
func (Echo) AcceptWebSocket(r *http.Request) (*ws.AcceptOptions, error) { return onlyAt(r) }

// Open implements ws.Handler.
func (Echo) Open(*ws.Conn) {}

// Message implements ws.Handler. A client that does not read what it gets back is closed.
func (Echo) Message(c *ws.Conn, typ ws.MessageType, p []byte) { _ = c.Send(typ, p) }

// Close implements ws.Handler.
func (Echo) Close(*ws.Conn, *ws.CloseError) {}

func (Echo) String() string { return "echo (built-in)" }
