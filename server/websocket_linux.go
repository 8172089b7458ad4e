package server

import (
	"context"
	"net"
	"net/http"

	"github.com/chaussette/chaussette/listener"
	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/epoll"
)

// front is the listener that the HTTP engine gets: with event loops WebSocket handshakes
// never reach it.
func (w *Worker) front(s *sockets, l *listener.Listener) net.Listener {
	if s == nil || w.tls != nil {
		return l // the loops cannot look into TLS
	}
	loops, ok := s.engine.(*epoll.Engine)
	if !ok {
		return l
	}
	limits := w.config.Limits.WithDefaults()
	return loops.Front(l, http.HandlerFunc(s.upgrades), &epoll.FrontOptions{
		HeaderSize:    limits.HeaderSize,
		HeaderTimeout: limits.HeaderTimeout,
		SendTimeout:   limits.SendTimeout,
		Context:       ws.WithEngine(context.Background(), loops),
		Inline:        s.inline,
		Log:           w.log,
	})
}
