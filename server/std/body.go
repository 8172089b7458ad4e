package std

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// body is a request's body within its limits: of size, by http.MaxBytesReader, and of
// time without progress, by a deadline that each read moves on.
type body struct {
	from     io.ReadCloser
	control  *http.ResponseController
	timeout  time.Duration
	response *response
	// ended: by its end or an error; the deadline is off. A proxy may read on in another
	// goroutine while its handler returns, and after.
	ended atomic.Bool

	expects bool // the client waits for 100 Continue

	taken int64  // bytes that were read; of the goroutine that reads
	early []byte // of them what is still to be given to the app, which hold has read
	held  bool   // what is left is with the system
	share int64  // of the bytes that may be held at once
	// bare: net/http has nothing of the body any more. Of the goroutine that reads.
	bare bool

	mu sync.Mutex // held over the setting of a deadline
	// returned: the handler has, and control may not be used (in HTTP/2 it panics).
	returned bool
}

// release gives back what hold has taken of the bytes that may be held at once.
func (b *body) release() {
	b.response.engine.holding.Add(-b.share)
	b.share = 0
}

// setDeadline does nothing once the handler has returned.
func (b *body) setDeadline(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.returned {
		_ = b.control.SetReadDeadline(t)
	}
}

func (b *body) Read(p []byte) (int, error) {
	if len(b.early) > 0 && len(p) > 0 {
		n := copy(p, b.early)
		b.early = b.early[n:]
		return n, nil
	}
	return b.readOn(p)
}

// readOn reads behind what has been read early.
func (b *body) readOn(p []byte) (int, error) {
	if b.timeout > 0 && !b.ended.Load() {
		b.setDeadline(time.Now().Add(b.timeout))
	}
	n, err := b.from.Read(p)
	b.taken += int64(n)
	b.bare = len(p) >= lendable
	if err != nil && !b.ended.Load() {
		b.end(err)
	}
	return n, err
}

func (b *body) end(err error) {
	b.ended.Store(true)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		b.exceeded(http.StatusRequestEntityTooLarge)
		b.setDeadline(time.Now().Add(linger)) // net/http reads on when the handler has returned
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.exceeded(http.StatusRequestTimeout)
	case b.timeout > 0:
		// net/http reads on now, to notice a client that leaves: as long as it takes.
		b.setDeadline(time.Time{})
	}
}

func (b *body) exceeded(status int) {
	w := b.response
	w.engine.log.Info("a request's body went over its limit", "method", w.request.Method, "path", w.request.URL.Path,
		"remote", w.request.RemoteAddr, "status", status)
	w.mu.Lock()
	w.limit = status
	w.mu.Unlock()
}

func (b *body) Close() error { return b.from.Close() }

// What is read of a body that the app left unread, so that the client gets to see the
// answer: a connection that is closed with bytes unread is reset, and the client may find
// the reset before the answer (RFC 9112, 9.6). net/http reads on, without a limit in time,
// where it keeps the connection, and not at all where it closes it.
const (
	linger    = time.Second
	lingerMax = 256 << 10 // as much as net/http reads
)

// finish reads what the app has left, within bounds. It is called when the handler returns.
func (b *body) finish(r *http.Request) {
	b.mu.Lock()
	b.returned = true
	b.mu.Unlock()
	b.release()
	if b.ended.Load() || b.response.hijacked || r.ProtoMajor > 1 {
		return
	}
	_ = b.control.SetReadDeadline(time.Now().Add(linger))
	if b.expects {
		return // reading would ask the client for the body
	}
	if _, err := io.CopyN(io.Discard, b.from, lingerMax); err == io.EOF {
		_ = b.control.SetReadDeadline(time.Time{})
	}
}
