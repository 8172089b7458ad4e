package server

import (
	"context"
	"net/http"
	"time"

	"github.com/chaussette/chaussette/listener"
	"github.com/chaussette/chaussette/server/buffer"
	"github.com/chaussette/chaussette/server/handover"
	"github.com/chaussette/chaussette/server/std"
	"github.com/chaussette/chaussette/ws"
)

// engine is what serves HTTP: package server/std, or loop/http1.
type engine interface {
	// Serve accepts from l until that is closed; its error is nil then.
	Serve(l *listener.Listener) error
	// takeMoved has the connections served that siblings give, who have not been started.
	// Where it returns a function, that does it, until the exchange is closed.
	takeMoved(e *handover.Exchange) func() error

	// handOver gives the siblings the connections that wait for a request, and those that
	// come to it: in a drain.
	handOver(k *kin)

	Connections() int
	StartDraining()
	WaitIdle(ctx context.Context) error
	Drain(ctx context.Context, quiet time.Duration) error
	Close() error
}

// newEngine returns the backend's engine for what is served.
func (w *Worker) newEngine(handler http.Handler, s *sockets, k *kin) (engine, error) {
	if w.onLoop() {
		return w.newLoopEngine(handler, s, k)
	}
	options := &std.Options{
		Limits:    w.config.Limits,
		TLS:       w.tls,
		NoHTTP2:   w.config.NoHTTP2,
		Hold:      w.holds(),
		AccessLog: w.config.AccessLog,
		Log:       w.log,

		Context:     w.baseContext(s),
		ConnContext: handover.ConnContext,
	}
	return stdEngine{std.New(handler, options)}, nil
}

// baseContext is where requests have their contexts from.
func (w *Worker) baseContext(s *sockets) context.Context {
	ctx := ws.WithGroups(context.Background(), w.groups)
	if s != nil {
		ctx = ws.WithEngine(ctx, s.engine)
	}
	return ctx
}

// holds is the longest body that an engine leaves with the system until it is whole.
func (w *Worker) holds() int64 {
	if !w.backend.Buffered {
		return 0
	}
	return buffer.InMemory
}

// onLoop says whether HTTP is spoken on event loops.
func (w *Worker) onLoop() bool { return w.backend.Engine == EngineLoop && loopEngine && w.tls == nil }

// sayEngine logs where the backend's own engine does not serve.
func (w *Worker) sayEngine() {
	switch {
	case w.backend.Engine != EngineLoop:
	case !loopEngine:
		w.log.Warn("this system has no epoll: net/http serves, with a goroutine for each connection")
	case w.tls != nil:
		w.log.Warn("TLS is not for the event loops: net/http serves, with a goroutine for each connection")
	}
}

// stdEngine is server/std as an engine.
type stdEngine struct{ *std.Engine }

func (e stdEngine) Serve(l *listener.Listener) error { return e.Engine.Serve(l) }

func (e stdEngine) takeMoved(x *handover.Exchange) func() error {
	return func() error { return e.ServePlain(x) }
}

func (e stdEngine) handOver(k *kin) { k.handOver(e.Engine) }
