package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/epoll"
	"github.com/chaussette/chaussette/ws/gorilla"
)

// sockets is a worker's WebSockets: their engine, and what stands between a request and
// the app.
type sockets struct {
	engine   ws.Engine
	app      http.Handler
	handler  ws.Handler       // the app's, or nil
	before   bool             // the app gets open connections
	io       *socketio.Server // or nil
	kin      *kin             // or nil
	broker   broker           // of io, or nil
	top      http.Handler     // what is called first
	log      *slog.Logger
	access   *slog.Logger
	draining atomic.Bool
	parted   chan struct{} // closed when drain has closed the sessions of io
}

// newSockets returns nil for a backend that speaks no WebSocket.
func (w *Worker) newSockets(f *kin) (*sockets, error) {
	if w.backend.WebSocket == NoUpgrade {
		return nil, nil
	}
	config := w.config.WebSocket
	config.Logger, config.Groups = w.log, w.groups
	config.MaxConnections = w.config.Limits.WithDefaults().Connections
	s := &sockets{log: w.log, access: w.config.AccessLog, handler: ws.HandlerOf(w.app), before: w.backend.WebSocket == UpgradeBefore, kin: f, parted: make(chan struct{})}
	var err error
	if s.io, s.broker, err = w.socketIO(f); err != nil {
		return nil, err
	}
	std := gorilla.New(&config)
	s.engine = std
	if !s.before {
		if !epoll.Supported {
			return s, nil // sayEngine has said so
		}
		loops, err := epoll.New(&config, &epoll.Options{Loops: w.config.Loops, Otherwise: std})
		if err != nil {
			_ = s.close()
			return nil, &OpenError{"the event loops", err}
		}
		s.engine = loops
	}
	return s, nil
}

// wrap puts the upgrade before the app.
func (s *sockets) wrap(app http.Handler) http.Handler {
	s.app, s.top = app, s
	if s.io != nil {
		s.top = s.io.Before(s)
	}
	return s.top
}

func (s *sockets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case !ws.IsUpgrade(r):
		s.app.ServeHTTP(w, r)
	case s.kin.passOn(w, r):
	case s.draining.Load():
		ws.Refuse(w, r, s.engine.Config().Logger, &ws.RefusedError{Status: http.StatusServiceUnavailable, Reason: "the worker is stopping"})
	case s.handler != nil:
		if options, ok := s.ask(w, r); ok {
			_, _ = ws.Serve(w, r, options, s.handler) // the client is answered, and the log has it
		}
	case s.before:
		s.openFirst(w, r)
	default:
		s.app.ServeHTTP(w, r)
	}
}

// ask asks a Handler about a request, and answers a client that it refuses.
func (s *sockets) ask(w http.ResponseWriter, r *http.Request) (*ws.AcceptOptions, bool) {
	a, ok := s.handler.(ws.Acceptor)
	if !ok {
		return nil, true
	}
	options, err := a.AcceptWebSocket(r)
	if err != nil {
		ws.Refuse(w, r, s.engine.Config().Logger, err)
		return nil, false
	}
	return options, true
}

// openFirst calls the app with an open connection, which ends when the app returns,
// unless a Handler serves it then.
func (s *sockets) openFirst(w http.ResponseWriter, r *http.Request) {
	c, err := ws.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			_ = c.Close(ws.StatusInternalError, "")
			panic(p)
		}
		if !c.Served() {
			_ = c.Close(ws.StatusNormal, "")
		}
	}()
	s.app.ServeHTTP(nowhere{}, ws.WithConn(r, c))
}

// nowhere is the response of a request that was upgraded: what the app writes has no
// place to go.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) WriteHeader(int)             {}

// close cuts what is left.
func (s *sockets) close() error {
	var err error
	if s.io != nil {
		err = s.io.Close()
	}
	if s.broker != nil {
		err = errors.Join(err, s.broker.Close())
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return errors.Join(err, s.engine.Close(ctx))
}

// drain closes the connections, and waits for them.
func (s *sockets) drain(ctx context.Context) error {
	s.draining.Store(true)
	if s.io != nil {
		// First, so that its clients and the app are told why; and polls are requests
		// that would not end by themselves.
		err := s.io.Drain(ctx)
		close(s.parted)
		if err != nil {
			return err
		}
	}
	return ws.Drain(ctx, s.engine)
}

// awaitSessions returns when drain has closed the Socket.IO sessions, or ctx ends.
func (s *sockets) awaitSessions(ctx context.Context) {
	if s.io == nil {
		return
	}
	select {
	case <-s.parted:
	case <-ctx.Done():
	}
}
