package std

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"
)

// ServeHTTP is between net/http and the app.
func (e *Engine) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	var start time.Time
	if e.access != nil {
		start = time.Now()
	}
	w := &response{to: to, request: r, engine: e}
	if e.draining.Load() && !e.handsOver(r) {
		to.Header().Set("Connection", "close")
	}
	if r.ContentLength != 0 { // -1 is chunked
		if r.TransferEncoding != nil {
			// A Content-Length beside the chunks may have been there, for smuggling: net/http
			// drops it before anybody can see. RFC 9112, 6.1: the connection must be closed then.
			to.Header().Set("Connection", "close")
		}
		b := e.limitBody(w, to, r)
		defer b.finish(r)
		if limit := e.limits.BodySize; limit > 0 && r.ContentLength > limit {
			e.tooLarge(w)
			e.logAccess(w, start)
			return
		}
		b.hold(r, e.hold)
	}
	defer e.logAccess(w, start)
	if r.RequestURI == "*" || r.RequestURI == "" {
		// Asterisk-form is for OPTIONS (RFC 9112, 3.2.4), which net/http answers itself.
		w.refuse(http.StatusBadRequest)
		return
	}
	defer e.recovered(w)
	e.app.ServeHTTP(w, r)
	w.finish()
}

// refuse answers in the app's stead.
func (w *response) refuse(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuseLocked(status)
}

func (e *Engine) tooLarge(w *response) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.log.Info("a request's body is over the limit", "method", w.request.Method, "path", w.request.URL.Path,
		"remote", w.request.RemoteAddr, "bytes", w.request.ContentLength, "max-body-size", e.limits.BodySize)
	w.refuseLocked(http.StatusRequestEntityTooLarge)
}

func (e *Engine) limitBody(w *response, to http.ResponseWriter, r *http.Request) *body {
	b := &body{from: r.Body, control: http.NewResponseController(to), timeout: e.limits.BodyTimeout, response: w,
		expects: r.ProtoMajor == 1 && r.Header.Get("Expect") != ""}
	w.body = b
	if e.limits.BodySize > 0 {
		b.from = http.MaxBytesReader(to, r.Body, e.limits.BodySize)
	}
	r.Body = b
	return b
}

// recovered keeps the worker alive when the app panics. The client gets a 500, or, where
// the response had begun, a connection that breaks off.
func (e *Engine) recovered(w *response) {
	v := recover()
	if v == nil {
		return
	}
	if v != http.ErrAbortHandler {
		e.log.Error("the app panicked", "method", w.request.Method, "path", w.request.URL.Path, "panic", v,
			"stack", string(debug.Stack()))
		if w.fail() {
			return
		}
	}
	w.finish()
	panic(http.ErrAbortHandler)
}

func (e *Engine) logAccess(w *response, start time.Time) {
	if e.access == nil {
		return
	}
	r := w.request
	e.access.LogAttrs(context.Background(), slog.LevelInfo, "request",
		slog.String("remote", r.RemoteAddr),
		slog.String("method", r.Method),
		slog.String("uri", r.RequestURI),
		slog.String("protocol", r.Proto),
		slog.Int("status", w.status),
		slog.Int64("bytes", w.size),
		slog.Duration("duration", time.Since(start)),
		slog.String("user-agent", r.UserAgent()),
	)
}
