package engineio

import (
	"encoding/json"
	"errors"
	"net/http"
)

// Error is what a client is told whose request is refused. It is sent as JSON.
type Error struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return "engine.io: " + e.Message }

// The refusals of the protocol. Forbidden is answered 403, the others 400.
var (
	ErrUnknownTransport   = &Error{0, "Transport unknown"}
	ErrUnknownSID         = &Error{1, "Session ID unknown"}
	ErrBadHandshakeMethod = &Error{2, "Bad handshake method"}
	ErrBadRequest         = &Error{3, "Bad request"}
	ErrForbidden          = &Error{4, "Forbidden"}
	ErrUnsupported        = &Error{5, "Unsupported protocol version"}
)

// ErrQueueFull is returned when a client takes too long to fetch what is sent to it. Its
// session is closed.
var ErrQueueFull = errors.New("engine.io: too much waits for a slow client")

// Errors of what clients send.
var (
	errPayload   = errors.New("payload not in the format of this revision")
	errPacket    = errors.New("packet not in the format of this revision")
	errDirection = errors.New("heartbeat in the wrong direction")
)

var fieldsJSON = []Field{{"Content-Type", "application/json"}}

// refuse answers a request that cannot be served.
func (srv *Server) refuse(a *asked, e *Error, more ...Field) {
	srv.options.Logger.Info("engine.io request refused", "code", e.Code, "reason", e.Message, "remote", a.RemoteAddr(), "url", a.Path())
	srv.refused(a.Request, e)
	body, _ := json.Marshal(e)
	a.respond(statusOf(e), append(more[:len(more):len(more)], fieldsJSON...), body)
}

func statusOf(e *Error) int {
	if e.Code == ErrForbidden.Code {
		return http.StatusForbidden
	}
	return http.StatusBadRequest
}
