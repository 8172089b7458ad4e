package engineio

import "github.com/chaussette/chaussette/ws"

// engine is what carries WebSockets where the request's context names none.
func (srv *Server) engine() ws.Engine { return srv.options.Engine }
