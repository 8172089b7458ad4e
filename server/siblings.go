package server

import (
	"log/slog"
	"net/http"

	"github.com/chaussette/chaussette/listener"
	"github.com/chaussette/chaussette/listener/siblings"
	"github.com/chaussette/chaussette/server/handover"
	"github.com/chaussette/chaussette/socketio"
	adapter "github.com/chaussette/chaussette/socketio/adapter/siblings"
	"github.com/chaussette/chaussette/socketio/engineio"
)

// kin is a worker among those on its socket: what it tells them, and what they give to
// it.
type kin struct {
	siblings *siblings.Siblings
	hub      *adapter.Hub
	exchange *handover.Exchange
	log      *slog.Logger
}

// newKin returns nil for a worker that has its socket to itself, and where nothing is
// to be shared. A worker that cannot meet the others serves on its own, and says so.
func (w *Worker) newKin(listeners listener.Listeners) *kin {
	if w.config.NoSiblings || !w.backend.SocketIO {
		return nil
	}
	if _, ok := w.app.(socketio.App); !ok {
		return nil
	}
	for _, l := range listeners {
		if !l.Shared() {
			continue
		}
		s, err := siblings.Open(&siblings.Options{Key: l.Identity(), Logger: w.log})
		if err != nil {
			w.log.Error("this worker serves without its siblings: a client that reaches several of them is refused", "error", err)
			return nil
		}
		return &kin{siblings: s, hub: adapter.NewHub(s, w.log), log: w.log,
			exchange: handover.New(&handover.Options{Siblings: s, Addr: l.Addr(), Logger: w.log})}
	}
	return nil
}

// join makes the siblings part of what a Socket.IO server does.
func (f *kin) join(o *socketio.Options) {
	if f == nil {
		return
	}
	o.Engine.Tag = string(f.siblings.Tag())
	o.Engine.Elsewhere = f.elsewhere
	o.Adapter = f.hub.Factory
	if o.Recovery != nil {
		o.Adapter = f.hub.Recovering(o.Recovery.Recovery)
	}
}

// elsewhere gives a request to the worker with whose tag its session id begins.
func (f *kin) elsewhere(w http.ResponseWriter, r *http.Request, id engineio.SID) bool {
	if len(id) < siblings.TagLength {
		return false
	}
	return f.exchange.Serve(w, r, siblings.Tag(id[:siblings.TagLength]))
}

// start meets the siblings.
func (f *kin) start() {
	if f == nil {
		return
	}
	if err := f.siblings.Start(); err != nil {
		f.log.Error("this worker serves without its siblings: a client that reaches several of them is refused", "error", err)
	}
}

// stopTaking is the exchange's part in the end of accepting.
func (f *kin) stopTaking() {
	if f != nil {
		_ = f.exchange.Close()
	}
}

func (f *kin) close() {
	if f != nil {
		_ = f.exchange.Close()
		_ = f.siblings.Close()
	}
}
