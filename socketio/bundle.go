package socketio

import "net/http"

func (srv *Server) serveBundle(w http.ResponseWriter, r *http.Request) bool { return false }
