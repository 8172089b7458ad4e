package ws

import (
	"log/slog"
	"time"
)

// Defaults of Config.
const (
	DefaultMaxMessageSize = 1 << 20
	DefaultMaxQueue       = 1 << 20
	DefaultPingInterval   = 25 * time.Second
	DefaultPongTimeout    = 20 * time.Second
	DefaultCloseTimeout   = 5 * time.Second
)

// Config is what an Engine does where AcceptOptions say nothing else. The zero value is
// safe; it must not change while an engine uses it.
type Config struct {
	// Origins are the patterns of origins that may connect besides the request's own
	// host: "example.com", "*.example.com", "https://example.com:8443", or "*" for any.
	// A request without an Origin header does not come from a page and may connect.
	// A refused one is answered 403.
	Origins []string
	// MaxMessageSize is the largest message that is taken, in bytes after decompression.
	// 0 means DefaultMaxMessageSize, less than 0 no limit. Past it the connection is
	// closed with StatusMessageTooBig, and a line in the log says so.
	MaxMessageSize int64
	// MaxQueue bounds what waits for a slow peer, in bytes. An empty queue takes any one
	// message. 0 means DefaultMaxQueue, less than 0 no limit.
	MaxQueue int64
	// Overflow says what Conn.Send does when the queue is full.
	Overflow Overflow
	// PingInterval is how long a connection may be silent before it is pinged.
	// 0 means DefaultPingInterval, less than 0 never.
	PingInterval time.Duration
	// PongTimeout is how long a pinged peer may stay silent; then the connection is
	// closed. 0 means DefaultPongTimeout, less than 0 for ever.
	PongTimeout time.Duration
	// CloseTimeout is how long the peer may take to answer a close frame before the
	// connection is cut. 0 means DefaultCloseTimeout.
	CloseTimeout time.Duration
	// DrainCode is what connections are closed with when the worker stops. 0 means
	// StatusServiceRestart, on which clients come back; StatusGoingAway is the other one
	// that makes sense.
	DrainCode StatusCode
	// MaxConnections bounds the open connections of an engine; a request past it is
	// answered 503. 0 means no bound.
	MaxConnections int
	// Deflate turns on permessage-deflate. The zero value leaves it off.
	Deflate Deflate
	// Groups has the groups with names, of Conn.Group and GroupFrom. Nil makes some that are
	// the engine's own.
	Groups *Groups
	// Logger is told why connections are refused and cut. Nil discards.
	Logger *slog.Logger
}

// Overflow says what happens to a message for which a Conn's queue has no room.
type Overflow byte

// What may happen.
const (
	OverflowDefault Overflow = iota // the engine's; OverflowClose if it has none either
	OverflowClose                   // the connection is closed with StatusTryAgainLater
	OverflowDrop                    // the message is dropped
)

func (o Overflow) String() string {
	switch o {
	case OverflowClose:
		return "close"
	case OverflowDrop:
		return "drop"
	}
	return "default"
}

// WithDefaults returns a copy in which every zero that stands for a default is replaced,
// and no limit is less than zero: 0 then means none.
func (c Config) WithDefaults() *Config {
	c.MaxMessageSize = limit(c.MaxMessageSize, DefaultMaxMessageSize)
	c.MaxQueue = limit(c.MaxQueue, DefaultMaxQueue)
	c.PingInterval = limit(c.PingInterval, DefaultPingInterval)
	c.PongTimeout = limit(c.PongTimeout, DefaultPongTimeout)
	c.CloseTimeout = limit(c.CloseTimeout, DefaultCloseTimeout)
	if c.Overflow == OverflowDefault {
		c.Overflow = OverflowClose
	}
	if c.DrainCode == 0 {
		c.DrainCode = StatusServiceRestart
	}
	if c.Groups == nil {
		c.Groups = new(Groups)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &c
}

func limit[T ~int64](given, otherwise T) T {
	switch {
	case given == 0:
		return otherwise
	case given < 0:
		return 0
	}
	return given
}
