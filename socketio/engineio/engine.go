package engineio

import (
	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/epoll"
)

// engine is what carries WebSockets where the request's context names none.
func (srv *Server) engine() ws.Engine {
	if srv.options.Engine != nil {
		return srv.options.Engine
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.fallback == nil && !srv.closed {
		e, err := epoll.New(&ws.Config{Logger: srv.options.Logger, PingInterval: -1}, nil)
		if err != nil {
			srv.options.Logger.Error("no WebSocket engine", "error", err)
			return nil
		}
		srv.fallback = e
	}
	return srv.fallback
}
