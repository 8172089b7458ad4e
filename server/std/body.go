package std

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// body is a request's body within its limits: of size, by http.MaxBytesReader, and of
// time without progress, by a deadline that each read moves on.
type body struct {
	from     io.ReadCloser
	control  *http.ResponseController
	timeout  time.Duration
	response *response
	ended    bool // by its end or an error: the deadline is off
}

func (b *body) Read(p []byte) (int, error) {
	if b.timeout > 0 && !b.ended {
		_ = b.control.SetReadDeadline(time.Now().Add(b.timeout))
	}
	n, err := b.from.Read(p)
	if err != nil && !b.ended {
		b.end(err)
	}
	return n, err
}

func (b *body) end(err error) {
	b.ended = true
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		b.exceeded(http.StatusRequestEntityTooLarge)
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.exceeded(http.StatusRequestTimeout)
	case b.timeout > 0:
		// net/http reads on now, to notice a client that leaves: as long as it takes.
		_ = b.control.SetReadDeadline(time.Time{})
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

// linger is how long a refused body is read on, for the client to read the answer: a
// connection closed with bytes unread is reset, and the answer may be lost (RFC 9112, 9.6).
const linger = time.Second

// finish bounds what net/http does with a body that the app did not read: it reads on
// for the sake of the connection, and would wait without end.
func (b *body) finish() {
	timeout := b.timeout
	if b.response.muted {
		timeout = linger
	}
	if !b.ended && timeout > 0 {
		_ = b.control.SetReadDeadline(time.Now().Add(timeout))
	}
}
