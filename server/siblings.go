package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaussette/chaussette/listener"
	"github.com/chaussette/chaussette/listener/siblings"
	"github.com/chaussette/chaussette/server/handover"
	"github.com/chaussette/chaussette/server/std"
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
	sockets  atomic.Pointer[sockets] // whose connections last; nil for a backend that has none
	streams  sync.WaitGroup          // those that siblings have given
	log      *slog.Logger
}

// newKin returns nil for a worker that has its socket to itself. A worker that cannot meet
// the others serves on its own, and says so.
func (w *Worker) newKin(listeners listener.Listeners) *kin {
	if w.config.NoSiblings {
		return nil
	}
	for _, l := range listeners {
		if !l.Shared() {
			continue
		}
		s, err := siblings.Open(&siblings.Options{Key: l.Identity(), Logger: w.log})
		if err != nil {
			w.log.Error(alone, "error", err)
			return nil
		}
		f := &kin{siblings: s, log: w.log}
		f.exchange = handover.New(&handover.Options{Siblings: s, Addr: l.Addr(), Conns: f.lasting, Logger: w.log})
		joinGroups(w.groups, s, w.log)
		if w.backend.SocketIO {
			f.hub = adapter.NewHub(s, w.log)
		}
		return f
	}
	return nil
}

const alone = "this worker serves without its siblings: a Socket.IO client that reaches several of them is refused, and groups of WebSockets are each worker's own"

// lasting is how many connections and sessions the worker has that last.
func (f *kin) lasting() int {
	s := f.sockets.Load()
	switch {
	case s == nil:
		return 0
	case s.io != nil: // sessions on polling as well
		return max(s.io.Engine().Len(), s.engine.Len())
	}
	return s.engine.Len()
}

// join makes the siblings part of what a Socket.IO server does.
func (f *kin) join(o *socketio.Options) {
	if f == nil {
		return
	}
	o.Engine.Tag = string(f.siblings.Tag())
	o.Engine.Elsewhere, o.Engine.ElsewhereStream = f.elsewhere, f.elsewhereStream
	o.Engine.Newcomer, o.Engine.Crowded = f.passOn, f.exchange.Crowded
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

// carry says whose connections last.
func (f *kin) carry(s *sockets) {
	if f != nil {
		f.sockets.Store(s)
	}
}

// passOn has a sibling serve a request that begins what lasts, where this worker has too
// many or drains.
func (f *kin) passOn(w http.ResponseWriter, r *http.Request) bool {
	return f != nil && f.exchange.PassOn(w, r)
}

// hearing is how long a worker that drains goes on as before when it has said that it takes
// no more connections. Siblings that drain at the same time have heard of one another then,
// and none gives away what nobody serves.
const hearing = 100 * time.Millisecond

// leave tells the siblings that this worker drains.
func (f *kin) leave(ctx context.Context) {
	if f == nil {
		return
	}
	f.exchange.Leave()
	if len(f.siblings.Peers()) == 0 {
		return
	}
	heard := time.NewTimer(hearing)
	defer heard.Stop()
	select {
	case <-heard.C:
	case <-ctx.Done():
	}
}

func (f *kin) hasPeers() bool { return f != nil && len(f.siblings.Peers()) > 0 }

// handOver gives the siblings the connections of e that are idle, and those that become it.
func (f *kin) handOver(e *std.Engine) {
	if !f.hasPeers() {
		return
	}
	e.HandOver(func(c net.Conn) bool {
		err := f.exchange.OfferConn(c)
		if errors.Is(err, handover.ErrNobody) {
			e.HandOver(nil) // the answers of the others end them
		}
		return err == nil
	})
}

// offer gives a descriptor to the sibling with the fewest. end is called where nobody takes
// any more.
func (f *kin) offer(fd int, end func()) bool {
	err := f.exchange.Offer(fd, nil)
	if errors.Is(err, handover.ErrNobody) {
		end()
	}
	return err == nil
}

// start meets the siblings.
func (f *kin) start() {
	if f == nil {
		return
	}
	if err := f.siblings.Start(); err != nil {
		f.log.Error(alone, "error", err)
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
		f.streams.Wait()
	}
}
