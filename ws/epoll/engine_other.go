//go:build !linux

package epoll

import (
	"errors"
	"net/http"

	"github.com/chaussette/chaussette/ws"
)

// Supported says whether the system has epoll.
const Supported = false

// Options are what an Engine is made with.
type Options struct {
	Loops     int
	Otherwise ws.Engine
}

// Engine is a ws.Engine where there is epoll.
type Engine struct{ ws.Engine }

// New returns an error: the system has no epoll, and ws/gorilla serves instead.
func New(*ws.Config, *Options) (*Engine, error) {
	return nil, errors.New("websocket: event loops need epoll, which this system lacks")
}

// Wrap returns h with e as the Engine that ws.Accept finds.
func (e *Engine) Wrap(h http.Handler) http.Handler { return h }
