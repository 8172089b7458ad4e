package engineio

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/chaussette/chaussette/ws"
)

// Options of a Server. The zero value serves; nil means it.
type Options struct {
	// Path under which the server is, with a slash at both ends; "/engine.io/" if empty.
	Path string
	// Revisions that are served; all if empty. Clients of others are told so.
	Revisions []Revision
	// Transports that are served; polling and websocket if empty. With WebTransport the
	// app has a listener of its own for it, which calls Server.ServeStream.
	Transports []TransportName
	// NoUpgrade keeps a session that began with polling there.
	NoUpgrade bool

	// PingInterval is the time between two heartbeats; 0 means 25 s.
	PingInterval time.Duration
	// PingTimeout is how long an answer to one may take; 0 means 20 s.
	PingTimeout time.Duration
	// UpgradeTimeout is how long an upgrade may take until it is given up, and the first
	// packet on WebTransport; 0 means 10 s.
	UpgradeTimeout time.Duration

	// MaxPayload is the largest body of a POST, and the largest message on WebSocket and
	// WebTransport, in bytes; 0 means 1,000,000. Past it the answer is 413, a close with
	// 1009, or the end with ParseError. Clients of revision 4 are told and keep to it.
	MaxPayload int64
	// MaxQueue bounds what waits for a client, in bytes; 0 means 1 MiB. Past it the
	// session is closed. An empty queue takes any one message.
	MaxQueue int64
	// MaxSessions bounds the open sessions; past it a handshake is answered 503. 0 means
	// no bound.
	MaxSessions int

	// Origins that may connect from a page of another site: "https://example.com",
	// "*.example.com", or "*" for any. None by default.
	Origins []string
	// Cookie, if not nil, is set at the handshake with the session's id as its value.
	// Nothing here needs it; load balancers may.
	Cookie *http.Cookie
	// Allow decides on a handshake. An error refuses it with 403, and its text is told.
	// The value is kept as Session.Value.
	Allow func(r *http.Request) (value any, err error)
	// Header, if not nil, is asked for each request what its answer says besides. It must
	// not block.
	Header func(r *http.Request) http.Header
	// Refused, if not nil, is told of each request that is refused, and why: by an *Error
	// of the protocol, a *ws.RefusedError, a *http.MaxBytesError, or for want of room. It
	// must not block.
	Refused func(r *http.Request, err error)
	// CompressionThreshold is from how many bytes on answers to polls are compressed, if
	// the client takes it; 0 means 1024, less than 0 never.
	CompressionThreshold int

	// Tag begins every session id: that of the worker, so that its siblings know whose a
	// session is. Letters and digits; a random one if empty.
	Tag string
	// Elsewhere is asked about a request whose session is not here, before its body is
	// read. True says that it has been served: by the worker that has the session.
	Elsewhere func(w http.ResponseWriter, r *http.Request, id SID) bool
	// ElsewhereStream is Elsewhere for WebTransport: of the stream st, read has been read.
	// True says that it has been served to its end, which is when ctx ends at the latest.
	// The Server closes it then.
	ElsewhereStream func(ctx context.Context, st Stream, read []byte, remote string, id SID) bool
	// Newcomer is asked about a request for a new session. True says that it has been
	// served: by a worker that has fewer.
	Newcomer func(w http.ResponseWriter, r *http.Request) bool
	// Crowded says that Newcomer may do that: such a request then has to come to ServeHTTP.
	Crowded func() bool
	// Engine carries WebSockets where the request's context has none (ws.WithEngine).
	Engine ws.Engine
	// Logger is told why clients are refused. Nil discards.
	Logger *slog.Logger
}

func (o *Options) withDefaults() *Options {
	var w Options
	if o != nil {
		w = *o
	}
	if w.Path == "" {
		w.Path = "/engine.io/"
	}
	if len(w.Revisions) == 0 {
		w.Revisions = []Revision{Revision09, Revision3, Revision4}
	}
	if len(w.Transports) == 0 {
		w.Transports = []TransportName{Polling, WebSocket}
	}
	fill(&w.PingInterval, 25*time.Second)
	fill(&w.PingTimeout, 20*time.Second)
	fill(&w.UpgradeTimeout, 10*time.Second)
	fill(&w.MaxPayload, 1_000_000)
	fill(&w.MaxQueue, 1<<20)
	fill(&w.CompressionThreshold, 1024)
	if w.Tag == "" {
		w.Tag = randomID(4)
	}
	if w.Logger == nil {
		w.Logger = slog.New(slog.DiscardHandler)
	}
	return &w
}

func fill[T comparable](field *T, otherwise T) {
	var zero T
	if *field == zero {
		*field = otherwise
	}
}
