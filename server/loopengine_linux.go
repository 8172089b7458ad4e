package server

import (
	"net/http"

	"github.com/chaussette/chaussette/app"
	"github.com/chaussette/chaussette/listener"
	"github.com/chaussette/chaussette/loop"
	"github.com/chaussette/chaussette/loop/http1"
	"github.com/chaussette/chaussette/server/handover"
	"github.com/chaussette/chaussette/ws/epoll"
)

// loopEngine says whether HTTP can be spoken on event loops here.
const loopEngine = http1.Supported

// newLoopEngine makes the engine on event loops, on those of the WebSockets where there are.
func (w *Worker) newLoopEngine(handler http.Handler, s *sockets, k *kin) (engine, error) {
	options := &http1.Options{
		Handler:   handler,
		Context:   w.baseContext(s),
		Limits:    w.config.Limits,
		Loops:     w.config.Loops,
		Hold:      w.holds(),
		AccessLog: w.config.AccessLog,
		Log:       w.log,
	}
	var first directs
	if s != nil && s.io != nil {
		first = append(first, newSocketIODirect(s.io, w.config.SocketIO.Engine.Path))
	}
	if direct, ok := w.app.(http1.Direct); ok {
		// The Handler's way is for what is large or slow, and waits for the app.
		options.Goroutines = true
		if w.config.Spawn == 0 || app.Pending(w.app) > 0 { // else the gate is the handler's
			first = append(first, direct)
		}
	}
	if len(first) > 0 {
		options.Direct = first
	}
	if w.appLoops != nil {
		return loopServer{http1.On(w.appLoops, options), w}, nil
	}
	if s == nil {
		server, err := http1.New(options)
		if err != nil {
			return nil, &OpenError{"the event loops", err}
		}
		return loopServer{server, w}, nil
	}
	loops := s.engine.(*epoll.Engine)
	options.Carried = loops.Len
	return loopServer{http1.On(loops.Loops(), options), w}, nil
}

// appLoops are the event loops of an app that has something of its own on them; nil otherwise.
type appLoops = *loop.Group

// openAppLoops starts them where the app wants them, and its connections are on loops.
func (w *Worker) openAppLoops() error {
	a, ok := w.app.(interface{ UseLoops(*loop.Group) })
	if !ok || !w.onLoop() || w.backend.WebSocket != NoUpgrade {
		return nil
	}
	group, err := http1.NewLoops(w.config.Loops)
	if err != nil {
		return &OpenError{"the event loops", err}
	}
	w.appLoops = group
	a.UseLoops(group)
	return nil
}

// closeAppLoops ends them, after the app.
func (w *Worker) closeAppLoops() {
	if w.appLoops != nil {
		w.appLoops.Close()
	}
}

// directs are asked in turn.
type directs []http1.Direct

// ServeDirect implements http1.Direct.
func (all directs) ServeDirect(x *http1.Exchange) bool {
	for _, d := range all {
		if d.ServeDirect(x) {
			return true
		}
	}
	return false
}

// loopServer is loop/http1 as an engine.
type loopServer struct {
	*http1.Server
	worker *Worker
}

func (e loopServer) Serve(l *listener.Listener) error { return e.Server.Serve(l) }

func (e loopServer) takeMoved(x *handover.Exchange) func() error {
	x.Take(func(m handover.Moved) {
		peer := &http1.Peer{Remote: m.Remote}
		if m.Offered {
			peer.Context = handover.Stay(e.Context())
		}
		if err := e.Take(m.FD, m.Read, peer); err != nil {
			e.worker.log.Warn("a sibling's connection is lost", "error", err)
		}
	})
	return nil
}

func (e loopServer) handOver(k *kin) {
	if k.hasPeers() {
		e.HandOver(func(fd int) bool { return k.offer(fd, func() { e.HandOver(nil) }) })
	}
}
