package socketio

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/chaussette/chaussette/socketio/engineio"
)

// Server is an http.Handler that serves Socket.IO under Options.Engine.Path. It is also
// the namespace "/": events are registered on it, and it is emitted to.
type Server struct {
	*Namespace
	options *Options
	engine  *engineio.Server
	workers workers
	leaving leaving

	mu         sync.RWMutex // guards what follows
	namespaces map[string]*Namespace
	patterns   []*Namespace
	made       []func(*Namespace) // of OnNamespace
	ends       []func()           // of OnClose
	closed     bool
}

// App is an app that has Socket.IO: it registers its namespaces and events.
type App interface {
	RegisterSocketIO(io *Server)
}

// NewServer returns a server. It is closed by Close.
func NewServer(options *Options) *Server {
	o := options.withDefaults()
	srv := &Server{options: o, namespaces: map[string]*Namespace{}}
	srv.engine = engineio.NewServer((*engine)(srv), &o.Engine)
	srv.Namespace = srv.Of("/")
	return srv
}

// Of returns the namespace of this name, which begins with a slash, and makes it if it is
// not there: from then on clients may connect to it. One whose name a pattern of before says
// yes to belongs to that, as if a client had connected.
func (srv *Server) Of(name string) *Namespace {
	if name == "" || name[0] != '/' {
		name = "/" + name
	}
	srv.mu.RLock()
	n, patterns := srv.namespaces[name], srv.patterns
	srv.mu.RUnlock()
	if n != nil {
		return n
	}
	var parent *Namespace
	if i := slices.IndexFunc(patterns, func(p *Namespace) bool { return p.match(name) }); i >= 0 {
		parent = patterns[i]
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.makeLocked(name, parent)
}

// makeLocked returns the namespace of a name, made as a pattern's, or where parent is nil as
// one of its own, unless it is there.
func (srv *Server) makeLocked(name string, parent *Namespace) *Namespace {
	if n := srv.namespaces[name]; n != nil {
		return n
	}
	h := &handlers{}
	if parent != nil {
		h = parent.handlers
	}
	n := srv.newNamespace(name, h)
	n.parent = parent
	if parent == nil {
		srv.madeLocked(n)
	}
	srv.namespaces[name] = n
	return n
}

// OnNamespace has f called for each namespace and each pattern, those included that there
// are, before any client is in it: to listen in all of them. It is not called for what a
// pattern makes, which has the handlers of the pattern. f calls no method of srv but those of
// the Namespace that register something.
func (srv *Server) OnNamespace(f func(n *Namespace)) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.made = append(srv.made, f)
	for _, n := range srv.namespaces {
		if n.parent == nil {
			f(n)
		}
	}
	for _, p := range srv.patterns {
		f(p)
	}
}

func (srv *Server) madeLocked(n *Namespace) {
	for _, f := range srv.made {
		f(n)
	}
}

// Namespaces are those that there are on this worker, by their names.
func (srv *Server) Namespaces() []*Namespace {
	srv.mu.RLock()
	defer srv.mu.RUnlock()
	all := slices.Collect(maps.Values(srv.namespaces))
	slices.SortFunc(all, func(a, b *Namespace) int { return strings.Compare(a.name, b.name) })
	return all
}

// Visit calls f with the namespace of this name, if clients may connect to it. One that a
// pattern would make is made for that time: it may have sockets on other workers.
func (srv *Server) Visit(name string, f func(n *Namespace)) bool {
	n := srv.namespace(name)
	if n == nil {
		return false
	}
	defer func() {
		n.sockets.Add(-1)
		srv.tidy(n)
	}()
	f(n)
	return true
}

// SocketsOf are the sockets of one session: one in each namespace that it is in.
func (srv *Server) SocketsOf(s *engineio.Session) []*Socket {
	c, ok := s.App().(*client)
	if !ok {
		return nil
	}
	return c.sockets()
}

// OnClose has f called by Close, when the clients are gone, before the adapters are closed.
func (srv *Server) OnClose(f func()) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.ends = append(srv.ends, f)
}

// OfMatch returns the pattern of all namespaces that match says yes to. They are made
// when a client connects, and have the handlers and middleware of the pattern. What is
// emitted to a pattern goes to all of them. match may be called from any goroutine.
func (srv *Server) OfMatch(match func(name string) bool) *Namespace {
	n := &Namespace{server: srv, name: "/*", handlers: &handlers{}, match: match}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.madeLocked(n)
	srv.patterns = append(srv.patterns, n)
	return n
}

// namespace finds the namespace of a client's CONNECT, or makes it by a pattern. The
// client counts as one of its sockets from now on.
func (srv *Server) namespace(name string) *Namespace {
	srv.mu.RLock()
	n, patterns := srv.namespaces[name], srv.patterns
	if n != nil {
		n.sockets.Add(1)
	}
	srv.mu.RUnlock()
	if n != nil {
		return n
	}
	for _, p := range patterns {
		if !p.match(name) {
			continue
		}
		srv.mu.Lock()
		defer srv.mu.Unlock()
		n := srv.makeLocked(name, p)
		n.sockets.Add(1)
		return n
	}
	return nil
}

func (srv *Server) newNamespace(name string, h *handlers) *Namespace {
	n := &Namespace{server: srv, name: name, handlers: h}
	a, err := srv.options.Adapter(name, (*serverSide)(n))
	if err != nil {
		// There is no server without: main has tried the adapter before.
		panic(fmt.Errorf("socketio: adapter of %s: %w", name, err))
	}
	n.adapter = a
	return n
}

// children are the namespaces that a pattern has made.
func (srv *Server) children(pattern *Namespace) []*Namespace {
	srv.mu.RLock()
	defer srv.mu.RUnlock()
	var found []*Namespace
	for _, n := range srv.namespaces {
		if n.parent == pattern {
			found = append(found, n)
		}
	}
	return found
}

// tidy removes n if a pattern has made it and nobody is left in it.
func (srv *Server) tidy(n *Namespace) {
	if n.parent == nil || srv.options.KeepEmptyNamespaces || srv.options.Recovery != nil {
		return
	}
	srv.mu.Lock()
	gone := n.sockets.Load() == 0 && srv.namespaces[n.name] == n
	if gone {
		delete(srv.namespaces, n.name)
	}
	srv.mu.Unlock()
	if gone {
		_ = n.adapter.Close()
	}
}

// Engine is what carries the clients: for its numbers, and to find a session.
func (srv *Server) Engine() *engineio.Server { return srv.engine }

// ServeHTTP serves what is under Options.Engine.Path, the client bundle included, and
// answers everything else with 404.
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !srv.options.NoClient && srv.serveBundle(w, r) {
		return
	}
	srv.engine.ServeHTTP(w, r)
}

// ServeExchange is ServeHTTP for who has the request in another form; see
// engineio.Server.ServeExchange.
func (srv *Server) ServeExchange(x engineio.Exchange) bool { return srv.engine.ServeExchange(x) }

// Drain refuses new clients and closes those there are, spread over the time until ctx
// ends, so that they connect again, to another worker. OnDisconnect is told
// ServerShutdown. It returns when all have left, and the handlers that ran for them have
// returned: what they emit still reaches everybody.
func (srv *Server) Drain(ctx context.Context) error {
	if err := srv.engine.Drain(ctx); err != nil {
		return err
	}
	return srv.leaving.wait(ctx)
}

// Close closes all clients and the adapters at once. It does not wait for handlers that
// still run: their contexts have ended.
func (srv *Server) Close() error {
	srv.mu.Lock()
	srv.closed = true
	all := make([]*Namespace, 0, len(srv.namespaces))
	for _, n := range srv.namespaces {
		all = append(all, n)
	}
	ends := srv.ends
	srv.mu.Unlock()
	errs := []error{srv.engine.Close()}
	for _, f := range ends {
		f()
	}
	srv.workers.close()
	for _, n := range all {
		errs = append(errs, n.adapter.Close())
	}
	return errors.Join(errs...)
}

// Before returns a handler that serves what is under Options.Engine.Path itself, and
// gives everything else to next.
func (srv *Server) Before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if srv.Serves(r.URL.Path) {
			srv.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Serves tells whether path is under Options.Engine.Path.
func (srv *Server) Serves(path string) bool {
	ours := srv.options.Engine.Path
	return strings.HasPrefix(path, ours) || len(path) == len(ours)-1 && strings.HasPrefix(ours, path)
}

// Options are those of the server, with defaults filled in.
func (srv *Server) Options() Options { return *srv.options }
