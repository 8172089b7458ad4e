package socketio

import (
	"log/slog"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/engineio"
	"github.com/chaussette/chaussette/socketio/parser"
)

// Options of a Server. The zero value serves; nil means it.
type Options struct {
	// Engine is how clients connect: path ("/socket.io/" if empty), transports,
	// heartbeats, limits, origins.
	Engine engineio.Options
	// ConnectTimeout is how long a client may be in no namespace before its connection is
	// closed; 0 means 45 s, less than 0 for ever.
	ConnectTimeout time.Duration
	// Parser is spoken with clients of Engine.IO 4. Nil means Socket.IO's own, or
	// MessagePack with a client that begins with it.
	Parser parser.Parser
	// Limits of packets.
	Limits parser.Limits
	// MaxPending bounds what waits for the handlers of a socket, in events (0 means
	// 10,000) and in bytes (0 means 16 MiB). A client that sends on is disconnected.
	MaxPending, MaxPendingBytes int
	// Adapter makes the adapters of namespaces; nil means adapter.InMemory.
	Adapter adapter.Factory
	// Recovery turns on connection state recovery: a client that was away for a short
	// time has its id, rooms and data back and gets what it missed. It costs a little
	// memory, and a few bytes in each event. Nil leaves it off.
	Recovery *Recovery
	// KeepEmptyNamespaces keeps namespaces that were made by a pattern when the last
	// socket has left them.
	KeepEmptyNamespaces bool
	// NoClient serves no client bundle at socket.io.js and its siblings.
	NoClient bool
	// Logger is told of panics in handlers and of what clients do wrong. Nil discards.
	Logger *slog.Logger
}

// Recovery is connection state recovery.
type Recovery struct {
	adapter.Recovery
	// SkipMiddleware does not run middleware for a client that comes back.
	SkipMiddleware bool
}

func (o *Options) withDefaults() *Options {
	var w Options
	if o != nil {
		w = *o
	}
	if w.Engine.Path == "" {
		w.Engine.Path = "/socket.io/"
	}
	if w.ConnectTimeout == 0 {
		w.ConnectTimeout = 45 * time.Second
	}
	if w.MaxPending == 0 {
		w.MaxPending = 10_000
	}
	if w.MaxPendingBytes == 0 {
		w.MaxPendingBytes = 16 << 20
	}
	if w.Logger == nil {
		w.Logger = slog.New(slog.DiscardHandler)
	}
	if w.Engine.Logger == nil {
		w.Engine.Logger = w.Logger
	}
	if w.Adapter == nil {
		w.Adapter = adapter.InMemory
		if r := w.Recovery; r != nil {
			w.Adapter = func(string, adapter.Handler) (adapter.Adapter, error) {
				return adapter.NewRecovering(r.Recovery), nil
			}
		}
	}
	return &w
}
