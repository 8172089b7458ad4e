// Package std is the HTTP engine on net/http: a goroutine a connection, HTTP/1.0, 1.1
// and 2, TLS, and all that middleware expects. Around net/http it puts what a worker
// owes its clients and its operator: limits that answer when they bite (package
// limits), an app that may panic or write too late, and a drain that breaks no request.
package std

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/chaussette/chaussette/server/limits"
)

// Options say how an [Engine] serves. The zero value serves HTTP with default limits.
type Options struct {
	Limits limits.Limits
	// TLS, where it is set, has the certificates; HTTP/2 is then negotiated.
	TLS *tls.Config
	// NoHTTP2 leaves HTTP/2 out, with TLS and without.
	NoHTTP2 bool
	// Context, where it is set, is what the contexts of requests come from.
	Context context.Context
	// ConnContext, where it is set, makes the context of a connection's requests, as that
	// of http.Server does.
	ConnContext func(context.Context, net.Conn) context.Context
	// Hold is the longest body, in bytes, that is left with the system until it has come whole,
	// where it is longer than 64 KiB: the app is called then, and its request's Body has a method
	// Held() bool, which says so. Where it does not come so, the app is called all the same, and
	// reads as it comes. 0 holds none; nor is one held of HTTP/2, in chunks, under TLS, of a
	// socket that is not TCP, or on a system other than Linux.
	Hold int64
	// HoldTotal is how many bytes of bodies may be held at once, until their apps have returned;
	// those beyond are not. 0 is limits.HoldTotal.
	HoldTotal int64
	// Carried, where it is set, is how many connections were taken out of the engine and
	// count against the limit.
	Carried func() int
	// AccessLog, where it is set, gets a line for each request.
	AccessLog *slog.Logger
	// Log gets the rest: a panic with its stack, a limit that bit. nil is slog.Default.
	Log *slog.Logger
}

// Engine serves connections. Serve may be called for several listeners; Drain and Close
// end them all, and the connections.
type Engine struct {
	app      http.Handler
	limits   limits.Limits
	hold     int64 // the longest body that is
	holdAll  int64
	holding  atomic.Int64 // bytes
	log      *slog.Logger
	access   *slog.Logger
	tls      bool
	server   *http.Server
	refusals *refusals
	carried  func() int

	conns    *conns
	draining atomic.Bool
	giving   atomic.Pointer[func(net.Conn) bool] // of HandOver
}

// New returns an Engine that serves app.
func New(app http.Handler, o *Options) *Engine {
	if o == nil {
		o = &Options{}
	}
	e := &Engine{
		app:     app,
		limits:  o.Limits.WithDefaults(),
		hold:    o.Hold,
		holdAll: cmp.Or(o.HoldTotal, limits.HoldTotal),
		log:     o.Log,
		access:  o.AccessLog,
		tls:     o.TLS != nil,
		carried: o.Carried,
		conns:   newConns(),
	}
	if e.carried == nil {
		e.carried = func() int { return 0 }
	}
	if e.log == nil {
		e.log = slog.Default()
	}
	e.server = e.newServer(e, o)
	e.refusals = newRefusals(e.newServer(http.HandlerFunc(busy), o))
	return e
}

func (e *Engine) newServer(handler http.Handler, o *Options) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(!o.NoHTTP2)
	protocols.SetUnencryptedHTTP2(!o.NoHTTP2)
	server := &http.Server{
		Handler:           handler,
		Protocols:         &protocols,
		TLSConfig:         o.TLS.Clone(),
		MaxHeaderBytes:    e.limits.HeaderSize,
		ReadHeaderTimeout: e.limits.HeaderTimeout,
		IdleTimeout:       e.limits.IdleTimeout,
		ConnState:         connState,
		ConnContext:       withConn,
		ErrorLog:          slog.NewLogLogger(quiet{e.log.Handler()}, slog.LevelWarn),
	}
	if further := o.ConnContext; further != nil {
		server.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return further(withConn(ctx, c), c) }
	}
	if o.Context != nil {
		server.BaseContext = func(net.Listener) context.Context { return o.Context }
	}
	return server
}

// Serve accepts connections from l and serves them until l is closed, or Drain or Close.
// Its error is nil then, and otherwise why l cannot be accepted from.
func (e *Engine) Serve(l net.Listener) error {
	if !e.tls {
		return e.ServePlain(l)
	}
	return served(e.server.ServeTLS(&acceptor{Listener: l, engine: e}, "", ""))
}

// ServePlain is Serve for connections that have no TLS, whatever the others have.
func (e *Engine) ServePlain(l net.Listener) error {
	return served(e.server.Serve(&acceptor{Listener: l, engine: e}))
}

func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Close closes listeners and connections at once.
func (e *Engine) Close() error {
	e.draining.Store(true)
	err := errors.Join(e.server.Close(), e.refusals.close())
	for _, c := range e.conns.all() { // hijacked
		_ = c.Close()
	}
	return err
}

// Connections is how many are open.
func (e *Engine) Connections() int { return e.conns.len() }

// quiet takes net/http's own reports of a handshake that a port scanner broke off down
// to debug: they are about the client, and may be many.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(context.Context, slog.Level) bool { return true }

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "http: TLS handshake error") {
		r.Level = slog.LevelDebug
	}
	if !q.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return q.Handler.Handle(ctx, r)
}
