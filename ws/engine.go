package ws

import (
	"context"
	"io"
	"iter"
	"net"
	"net/http"
)

// Engine carries open connections. Its methods may be called from any goroutine.
//
// What it owes to each connection it has attached: RFC 6455 to the letter, text checked
// as it arrives, the limits of Handshake.Config, pings, answers to pings and close
// frames, the calls of a Handler in order. Package wstest has the suite.
type Engine interface {
	// Config is what applies where AcceptOptions are silent, with defaults filled in.
	Config() *Config
	// Attach makes a Conn of nc: it writes h.Response and then speaks WebSocket.
	// buffered is what was read from nc already; it is not kept. nc belongs to the engine
	// from now on, also if there is an error: then it is closed.
	Attach(nc net.Conn, buffered []byte, h *Handshake) (*Conn, error)
	// Conns are the open connections, in no order; those that come and go meanwhile may
	// or may not be among them.
	Conns() iter.Seq[*Conn]
	// Len is how many there are, those in their close handshake included.
	Len() int
	// Close cuts all connections, and returns when their handlers' Close has returned
	// and the engine's goroutines are gone, or with ctx.Err().
	Close(ctx context.Context) error
}

// Driver is an engine's side of one Conn, whose methods of the same names have the
// contracts. Driver's are called with valid arguments only.
type Driver interface {
	Serve(h Handler)
	Read(ctx context.Context) (MessageType, []byte, error)
	Reader(ctx context.Context) (MessageType, io.Reader, error)
	Write(ctx context.Context, typ MessageType, p []byte) error
	Writer(ctx context.Context, typ MessageType) (io.WriteCloser, error)
	Send(typ MessageType, p []byte) error
	SendPrepared(p *Prepared) error
	Ping(ctx context.Context) error
	Close(code StatusCode, reason string) error
	CloseNow() error
	Queued() int64
}

// Fan is a Driver that sends to many connections cheaper than to one after another.
type Fan interface {
	// SendPreparedTo is SendPrepared for conns, some of which may have other Drivers, but
	// for those in except. It returns how many took it.
	SendPreparedTo(conns []*Conn, p *Prepared, except []*Conn) int
}

// Handshake is what both sides have agreed on.
type Handshake struct {
	// Config has the limits, AcceptOptions applied. It is shared and must not be changed.
	Config *Config
	// Subprotocol is the chosen one, or empty.
	Subprotocol string
	// Deflate is what was negotiated of permessage-deflate, nil if nothing.
	Deflate *DeflateParams
	// Response is the answer that is still to be written: status line and headers.
	Response []byte
	// Request is the upgrade request. The engine keeps of it what Conn.Request needs.
	Request *http.Request
}

type engineKey struct{}

// WithEngine returns a context in which Accept finds e: for http.Server.BaseContext, so
// that it costs nothing per request.
func WithEngine(ctx context.Context, e Engine) context.Context {
	return context.WithValue(ctx, engineKey{}, e)
}

// EngineFrom returns the Engine of WithEngine, or nil.
func EngineFrom(ctx context.Context) Engine {
	e, _ := ctx.Value(engineKey{}).(Engine)
	return e
}
