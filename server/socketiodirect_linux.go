package server

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/chaussette/chaussette/loop/http1"
	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/socketio/engineio"
)

// socketIODirect serves Socket.IO's requests on the event loop: a poll that waits is an
// Exchange and nothing else.
type socketIODirect struct {
	io     *socketio.Server
	path   string // with the slash at its end
	prefix []byte // without
}

func newSocketIODirect(io *socketio.Server, path string) *socketIODirect {
	if path == "" {
		path = "/socket.io/"
	}
	return &socketIODirect{io, path, []byte(strings.TrimSuffix(path, "/"))}
}

// ServeDirect implements http1.Direct.
func (d *socketIODirect) ServeDirect(x *http1.Exchange) bool {
	target := x.Target()
	if !bytes.HasPrefix(target, d.prefix) || x.Upgrade() {
		return false
	}
	path, query, _ := bytes.Cut(target, []byte("?"))
	e := &loopExchange{x: x, path: d.path}
	if string(path) != d.path {
		decoded, err := url.PathUnescape(string(path))
		if err != nil {
			return false
		}
		e.path = decoded
	}
	e.query = string(query)
	if !d.io.ServeExchange(e) {
		return false
	}
	if e.gone != nil {
		x.OnGone(func(error) { e.gone() })
	}
	return true
}

// loopExchange is an engineio.Exchange on the event loop.
type loopExchange struct {
	x           *http1.Exchange
	path, query string
	gone        func()
	close       bool
}

// Method implements engineio.Exchange.
func (e *loopExchange) Method() string {
	switch m := e.x.Method(); string(m) {
	case http.MethodGet:
		return http.MethodGet
	case http.MethodPost:
		return http.MethodPost
	default:
		return string(m)
	}
}

// Path implements engineio.Exchange.
func (e *loopExchange) Path() string { return e.path }

// Query implements engineio.Exchange.
func (e *loopExchange) Query() string { return e.query }

// Header implements engineio.Exchange.
func (e *loopExchange) Header(name string) string {
	all := ""
	for i := range e.x.Fields() {
		n, v := e.x.Field(i)
		if len(n) != len(name) || !bytes.EqualFold(n, []byte(name)) {
			continue
		}
		if all != "" {
			all += ", "
		}
		all += string(v)
	}
	return all
}

// RemoteAddr implements engineio.Exchange.
func (e *loopExchange) RemoteAddr() string { return e.x.RemoteAddr() }

// Request implements engineio.Exchange.
func (e *loopExchange) Request() *http.Request {
	r, err := e.x.Request()
	if err != nil { // ServeDirect has seen the path
		r = &http.Request{Method: e.Method(), URL: &url.URL{Path: e.path, RawQuery: e.query}, Header: http.Header{}, RemoteAddr: e.RemoteAddr()}
	}
	return r
}

// Body implements engineio.Exchange.
func (e *loopExchange) Body(max int64) ([]byte, error) {
	b := e.x.Body()
	if int64(len(b)) > max {
		e.close = true
		return nil, &http.MaxBytesError{Limit: max}
	}
	return b, nil
}

// OnGone implements engineio.Exchange.
func (e *loopExchange) OnGone(f func()) { e.gone = f }

var responseHeads = sync.Pool{New: func() any { return new(http1.ResponseHead) }}

// Respond implements engineio.Exchange.
func (e *loopExchange) Respond(status int, header []engineio.Field, body []byte) {
	h := responseHeads.Get().(*http1.ResponseHead)
	defer responseHeads.Put(h)
	h.Reset(status, "")
	for _, f := range header {
		h.Add(f.Name, f.Value)
	}
	if e.close {
		h.Add("Connection", "close")
	}
	_ = e.x.Answer(h, body)
}
