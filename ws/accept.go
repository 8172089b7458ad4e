package ws

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/net/http/httpguts"
)

// AcceptOptions are what an app decides about a connection. The zero value, as nil, leaves
// all to the Engine's Config.
type AcceptOptions struct {
	// Subprotocols that the app speaks, the one it likes best first. The first of them
	// that the client offers is chosen; if there is none, the connection has no
	// subprotocol (RFC 6455, 4.2.2): an app that needs one closes it, or refuses before.
	Subprotocols []string
	// Header is sent with the 101 answer, cookies for example.
	Header http.Header
	// Greeting, if not nil, is sent behind the answer, in the same write: for protocols in
	// which the server speaks first.
	Greeting *Prepared
	// Origins, if not nil, replace Config.Origins.
	Origins []string
	// MaxMessageSize, MaxQueue and Overflow, if not zero, replace those of Config.
	MaxMessageSize int64
	MaxQueue       int64
	Overflow       Overflow
	// DrainCode, if not zero, replaces Config.DrainCode.
	DrainCode StatusCode
	// NoPing leaves pings to the app: for protocols with heartbeats of their own.
	NoPing bool
	// NoDeflate leaves permessage-deflate off for this connection.
	NoDeflate bool

	// applied is the last Config made of these options, so that the connections accepted
	// with the same options share one.
	applied atomic.Pointer[applied]
	base    *AcceptOptions // whose Config it is, or nil
}

// With returns options for one connection, which has this Header and Greeting and all else
// in common with o.
func (o *AcceptOptions) With(header http.Header, greeting *Prepared) *AcceptOptions {
	return &AcceptOptions{
		Subprotocols: o.Subprotocols, Header: header, Greeting: greeting, Origins: o.Origins,
		MaxMessageSize: o.MaxMessageSize, MaxQueue: o.MaxQueue, Overflow: o.Overflow, DrainCode: o.DrainCode,
		NoPing: o.NoPing, NoDeflate: o.NoDeflate, base: o,
	}
}

type applied struct{ from, to *Config }

// RefusedError is why a request was not upgraded.
type RefusedError struct {
	// Status is what the client was answered, or is to be.
	Status int
	// Reason goes into the answer's body.
	Reason string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("websocket refused: %d %s: %s", e.Status, http.StatusText(e.Status), e.Reason)
}

// Accept upgrades the request to WebSocket. If the server has upgraded it already, as
// `--backend websocket` does before it calls the app, Accept returns the Conn that is
// open; of the options only those limits count then that were known before.
//
// If there is an error, the client has been answered: 426 for another version than 13 or
// no upgrade at all, 400 for a bad handshake, 403 for a foreign origin, 503 past
// Config.MaxConnections. It is then a *RefusedError.
//
// The connection outlives the request: an http.Handler that returns leaves it open.
func Accept(w http.ResponseWriter, r *http.Request, options *AcceptOptions) (*Conn, error) {
	if c := FromRequest(r); c != nil {
		if options != nil && options.Greeting != nil {
			return c, c.SendPrepared(options.Greeting)
		}
		return c, nil
	}
	engine := EngineFrom(r.Context())
	if engine == nil {
		return nil, refuse(w, r, slog.New(slog.DiscardHandler), &RefusedError{http.StatusInternalServerError,
			"this server has no WebSocket engine: wrap the handler with gorilla.New(nil).Wrap"})
	}
	log := engine.Config().Logger
	h, err := NewHandshake(engine, r, options)
	if err != nil {
		return nil, refuse(w, r, log, err)
	}
	if e, ok := engine.(descriptorEngine); ok {
		if d := detacherOf(w); d != nil {
			if a, ok := engine.(adopter); ok {
				if c, err := a.Adopt(d, h); !errors.Is(err, errors.ErrUnsupported) {
					return c, err
				}
			}
			fd, rest, err := d.Detach()
			if err != nil {
				return nil, fmt.Errorf("take over the connection: %w", err)
			}
			return e.AttachFD(fd, rest, h)
		}
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, refuse(w, r, log, &RefusedError{http.StatusInternalServerError, "the connection cannot be taken over: " + err.Error()})
	}
	var buffered []byte
	if n := rw.Reader.Buffered(); n > 0 {
		buffered, _ = rw.Reader.Peek(n)
	}
	return engine.Attach(nc, buffered, h)
}

// descriptorEngine is an Engine that needs no net.Conn.
type descriptorEngine interface {
	AttachFD(fd int, buffered []byte, h *Handshake) (*Conn, error)
}

// adopter is an Engine that may have its loops in common with the server. Adopt is AttachFD of
// what d detaches; the error is errors.ErrUnsupported, with nothing done, where they have
// none in common.
type adopter interface {
	Adopt(d any, h *Handshake) (*Conn, error)
}

// detacher is the ResponseWriter of a server that has none, as that of package loop/http1.
type detacher interface {
	Detach() (fd int, rest []byte, err error)
}

// detacherOf looks for one under what middleware has put around it.
func detacherOf(w http.ResponseWriter) detacher {
	for {
		switch v := w.(type) {
		case detacher:
			return v
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default:
			return nil
		}
	}
}

// NewHandshake checks that r is a WebSocket handshake that may succeed on e, and settles
// what it agrees on. Its errors are *RefusedError; nobody has been answered.
func NewHandshake(e Engine, r *http.Request, options *AcceptOptions) (*Handshake, error) {
	if err := checkUpgrade(r); err != nil {
		return nil, err
	}
	if options == nil {
		options = &AcceptOptions{}
	}
	config := options.apply(e.Config())
	if !OriginAllowed(r, config.Origins) {
		return nil, &RefusedError{http.StatusForbidden,
			fmt.Sprintf("origin %q may not connect to %q (see --origin)", r.Header.Get("Origin"), r.Host)}
	}
	if config.MaxConnections > 0 && e.Len() >= config.MaxConnections {
		return nil, &RefusedError{http.StatusServiceUnavailable, "too many connections"}
	}
	h := &Handshake{Config: config, Request: r}
	h.Subprotocol = selectSubprotocol(options.Subprotocols, tokens(r.Header["Sec-Websocket-Protocol"]))
	if config.Deflate.Enabled && !options.NoDeflate {
		h.Deflate = negotiateDeflate(&config.Deflate, r.Header["Sec-Websocket-Extensions"])
	}
	h.Response = response(h, r.Header["Sec-Websocket-Key"][0], options.Header)
	if options.Greeting != nil {
		h.Response = append(h.Response, options.Greeting.Frames(h.Deflate)...)
	}
	return h, nil
}

// apply returns config with the options in it; a copy only if there are any.
func (o *AcceptOptions) apply(config *Config) *Config {
	if o.base != nil {
		return o.base.apply(config)
	}
	if o.Origins == nil && o.MaxMessageSize == 0 && o.MaxQueue == 0 && o.Overflow == OverflowDefault && o.DrainCode == 0 && !o.NoPing {
		return config
	}
	if a := o.applied.Load(); a != nil && a.from == config {
		return a.to
	}
	c := *config
	if o.Origins != nil {
		c.Origins = o.Origins
	}
	c.MaxMessageSize = limit(o.MaxMessageSize, c.MaxMessageSize)
	c.MaxQueue = limit(o.MaxQueue, c.MaxQueue)
	if o.Overflow != OverflowDefault {
		c.Overflow = o.Overflow
	}
	if o.DrainCode != 0 {
		c.DrainCode = o.DrainCode
	}
	if o.NoPing {
		c.PingInterval = 0
	}
	o.applied.Store(&applied{config, &c})
	return &c
}

// IsUpgrade reports whether r asks for WebSocket, well formed or not.
func IsUpgrade(r *http.Request) bool {
	return httpguts.HeaderValuesContainsToken(r.Header["Upgrade"], "websocket")
}

// checkUpgrade obeys RFC 6455, 4.2.1.
func checkUpgrade(r *http.Request) error {
	bad := func(status int, reason string) error { return &RefusedError{status, reason} }
	h := r.Header
	switch {
	case r.Method != http.MethodGet:
		return bad(http.StatusMethodNotAllowed, "a WebSocket handshake is a GET")
	case !r.ProtoAtLeast(1, 1):
		return bad(http.StatusHTTPVersionNotSupported, "a WebSocket handshake needs HTTP/1.1")
	case r.ContentLength != 0:
		return bad(http.StatusBadRequest, "a WebSocket handshake has no body")
	case r.ProtoMajor > 1:
		return bad(http.StatusHTTPVersionNotSupported, "WebSocket over HTTP/2 is not served: connect by HTTP/1.1")
	case !httpguts.HeaderValuesContainsToken(h["Upgrade"], "websocket"):
		return bad(http.StatusUpgradeRequired, "this is a WebSocket endpoint: no Upgrade: websocket header (a proxy may have removed it)")
	case !httpguts.HeaderValuesContainsToken(h["Connection"], "upgrade"):
		return bad(http.StatusBadRequest, "no Connection: Upgrade header (a proxy may have removed it)")
	}
	if version := h["Sec-Websocket-Version"]; len(version) != 1 || strings.TrimSpace(version[0]) != "13" {
		return bad(http.StatusUpgradeRequired, "only version 13 of WebSocket is served")
	}
	key := h["Sec-Websocket-Key"]
	if len(key) != 1 {
		return bad(http.StatusBadRequest, "one Sec-WebSocket-Key header is needed")
	}
	if !isKey(key[0]) {
		return bad(http.StatusBadRequest, "Sec-WebSocket-Key is not 16 bytes in base64")
	}
	return nil
}

// isKey reports whether s is 16 bytes in base64.
func isKey(s string) bool {
	const length = 24
	if len(s) != length {
		return false
	}
	var coded [length]byte
	var decoded [length / 4 * 3]byte
	copy(coded[:], s)
	n, err := keyEncoding.Decode(decoded[:], coded[:])
	return err == nil && n == 16
}

var keyEncoding = base64.StdEncoding.Strict()

func tokens(values []string) []string {
	var all []string
	for _, v := range values {
		for token := range strings.SplitSeq(v, ",") {
			if token = strings.TrimSpace(token); token != "" {
				all = append(all, token)
			}
		}
	}
	return all
}

func selectSubprotocol(spoken, offered []string) string {
	for _, p := range spoken {
		if slices.Contains(offered, p) { // they compare by case (RFC 6455, 4.1)
			return p
		}
	}
	return ""
}

// response is the answer to a handshake that succeeds (RFC 6455, 4.2.2).
func response(h *Handshake, key string, extra http.Header) []byte {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	sum := sha1.Sum([]byte(key + guid))
	b := make([]byte, 0, 192)
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b = base64.StdEncoding.AppendEncode(b, sum[:])
	b = append(b, "\r\n"...)
	if h.Subprotocol != "" {
		b = append(b, "Sec-WebSocket-Protocol: "...)
		b = append(b, h.Subprotocol...)
		b = append(b, "\r\n"...)
	}
	if h.Deflate != nil {
		b = append(b, "Sec-WebSocket-Extensions: "...)
		b = append(b, h.Deflate.String()...)
		b = append(b, "\r\n"...)
	}
	for name, values := range extra {
		if !httpguts.ValidHeaderFieldName(name) {
			continue
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				continue // it could split the answer
			}
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, v...)
			b = append(b, "\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}

// Refuse answers a request with the status and reason of a RefusedError, or with 403, and
// logs it.
func Refuse(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	_ = refuse(w, r, log, err)
}

// refuse answers the client and returns err.
func refuse(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) error {
	status, reason := http.StatusForbidden, err.Error()
	if e, ok := err.(*RefusedError); ok {
		status, reason = e.Status, e.Reason
	}
	h := w.Header()
	switch status {
	case http.StatusUpgradeRequired:
		h.Set("Upgrade", "websocket") // RFC 9110, 15.5.22
		h.Set("Connection", "Upgrade")
		h.Set("Sec-WebSocket-Version", "13")
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodGet)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "5")
	}
	log.Info("websocket refused", "status", status, "reason", reason, "path", r.URL.Path, "remote", r.RemoteAddr)
	http.Error(w, reason, status)
	return err
}

type connKey struct{}

// WithConn returns r with an open Conn for FromRequest: for a server that upgrades before
// it calls the app.
func WithConn(r *http.Request, c *Conn) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), connKey{}, c))
}

// FromRequest returns the Conn of a request that was upgraded before the app was called,
// as `--backend websocket` does, or nil.
func FromRequest(r *http.Request) *Conn {
	c, _ := r.Context().Value(connKey{}).(*Conn)
	return c
}
