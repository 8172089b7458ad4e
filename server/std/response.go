package std

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// errReturned is what an app gets that writes a response after its handler has returned.
var errReturned = errors.New("chaussette: the handler of this response has returned")

// response is the ResponseWriter that an app gets. net/http's own is used again for the
// next request as soon as the handler returns; an app that kept it would write into
// somebody else's response. This one knows that its handler has returned.
type response struct {
	to      http.ResponseWriter
	request *http.Request
	engine  *Engine

	mu       sync.Mutex // the wire's: held while the app writes
	returned bool
	hijacked bool
	muted    bool // the answer is ours; what the app writes is dropped
	status   int  // as sent, 0 before
	size     int64
	body     *body // the request's, or nil
	// limit is the status of a limit that the request's body went over. It replaces what
	// the app makes of the failed read.
	limit int
}

func (w *response) Header() http.Header { return w.to.Header() }

func (w *response) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lateLocked() {
		return
	}
	w.writeHeaderLocked(status)
}

func (w *response) writeHeaderLocked(status int) {
	switch {
	case status >= 100 && status < 200 && status != http.StatusSwitchingProtocols:
		// An interim response, of which there may be more. HTTP/1.0 knows of none (RFC 9110, 15.2).
		if w.request.ProtoAtLeast(1, 1) {
			w.to.WriteHeader(status)
		}
	case w.status == 0 && w.limit != 0 && status >= 400:
		w.refuseLocked(w.limit)
	case w.muted:
	default:
		if w.status == 0 {
			w.beforeLocked()
		}
		w.to.WriteHeader(status) // which panics where it is no status
		if w.status == 0 {
			w.status = status
		}
	}
}

// refuseLocked answers in the app's stead.
func (w *response) refuseLocked(status int) {
	w.status, w.muted = status, true
	h, text := w.to.Header(), http.StatusText(status)+"\n"
	clear(h)
	h.Set("Connection", "close") // what is left of the request is not read
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.to.WriteHeader(status)
	_, _ = io.WriteString(w.to, text)
	// Now, and not when what the client still sends has been looked at.
	_ = http.NewResponseController(w.to).Flush()
}

// beforeLocked is called before the head of a response is sent.
func (w *response) beforeLocked() {
	h := w.to.Header()
	if length, ok := h["Content-Length"]; ok && len(length) > 0 {
		// net/http sends what is no length, and the client cannot find the body's end.
		if _, err := strconv.ParseUint(length[0], 10, 63); err != nil || len(length) > 1 {
			w.engine.log.Error("the app declared a Content-Length that is no length", "value", strings.Join(length, ", "), "path", w.request.URL.Path)
			delete(h, "Content-Length")
		}
	}
	if w.body != nil && w.body.expects && !w.body.ended.Load() {
		// The client waits to be asked for its body, and was not, or not for all of it. net/http
		// would wait for it before it sends the head.
		h["Connection"] = []string{"close"}
	}
}

func (w *response) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lateLocked() {
		return 0, errReturned
	}
	w.startLocked()
	if w.muted {
		return len(p), nil
	}
	n, err := w.to.Write(p)
	w.size += int64(n)
	return n, err
}

// WriteString spares a copy of s.
func (w *response) WriteString(s string) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lateLocked() {
		return 0, errReturned
	}
	w.startLocked()
	if w.muted {
		return len(s), nil
	}
	n, err := io.WriteString(w.to, s)
	w.size += int64(n)
	return n, err
}

// ReadFrom lets a file go out by sendfile.
func (w *response) ReadFrom(r io.Reader) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lateLocked() {
		return 0, errReturned
	}
	w.startLocked()
	if w.muted {
		return io.Copy(io.Discard, r)
	}
	n, err := io.Copy(w.to, r)
	w.size += n
	return n, err
}

// startLocked is what the first write does to the status, as net/http has it.
func (w *response) startLocked() {
	if w.status == 0 {
		w.beforeLocked()
		w.status = http.StatusOK
	}
}

// FlushError sends what has been written.
func (w *response) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lateLocked() {
		return errReturned
	}
	w.startLocked()
	return http.NewResponseController(w.to).Flush()
}

// Flush is FlushError for those who do not ask for the error.
func (w *response) Flush() { _ = w.FlushError() }

// Hijack gives the connection away; over HTTP/2 it is http.ErrNotSupported.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lateLocked() {
		return nil, nil, errReturned
	}
	c, rw, err := http.NewResponseController(w.to).Hijack()
	if err == nil {
		w.hijacked, w.status = true, http.StatusSwitchingProtocols
	}
	return c, rw, err
}

// SetReadDeadline and the others are what http.ResponseController asks for.
func (w *response) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(w.to).SetReadDeadline(t)
}

// SetWriteDeadline bounds the writes to come.
func (w *response) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(w.to).SetWriteDeadline(t)
}

// EnableFullDuplex lets a handler read while it writes, in HTTP/1.
func (w *response) EnableFullDuplex() error {
	return http.NewResponseController(w.to).EnableFullDuplex()
}

func (w *response) lateLocked() bool {
	if w.returned {
		w.engine.log.Warn("the app writes a response after its handler has returned: dropped",
			"method", w.request.Method, "path", w.request.URL.Path)
	}
	return w.returned
}

// finish ends the app's use of the response, and gives the answer that it owed.
func (w *response) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.returned = true
	if w.hijacked {
		return
	}
	if w.status == 0 && w.limit != 0 {
		w.refuseLocked(w.limit)
	}
	w.startLocked()
}

// fail answers 500 for an app that panicked, and reports whether it could: a response
// that has begun can only be broken off.
func (w *response) fail() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.returned = true
	if w.hijacked {
		return true
	}
	if w.status != 0 {
		return false
	}
	w.refuseLocked(http.StatusInternalServerError)
	return true
}
