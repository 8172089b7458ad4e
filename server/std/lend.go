package std

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// An app may have another process write a response's body, or read a request's, on the
// connection itself. net/http keeps count: it is told how many bytes went, in places where
// it would have moved them, so the connection lives on.

// connKey is where the context of a request has its *conn.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*conn); ok { // under TLS the bytes are not the app's
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// connOf returns the connection of a request that has it to itself, or nil.
func connOf(r *http.Request) *conn {
	if r.ProtoMajor != 1 {
		return nil
	}
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

var errNotSent = errors.New("chaussette: the connection could not be lent")

// SendBy has send write a response that declares a Content-Length on the connection. send returns how many bytes it wrote; where these are not
// what the head declares, the connection ends with the response. send begins with head, which
// does not count. The error is http.ErrNotSupported where send was not called, else send's.
func (w *response) SendBy(send func(c net.Conn, head []byte) (int64, error)) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lateLocked() {
		return 0, errReturned
	}
	c := connOf(w.request)
	if c == nil || w.muted || w.hijacked || w.request.Method == http.MethodHead || w.to.Header().Get("Content-Length") == "" {
		return 0, http.ErrNotSupported
	}
	w.startLocked()
	head := make([]byte, 0, 512)
	c.held.Store(&head)
	err := http.NewResponseController(w.to).Flush()
	c.held.Store(nil)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(w.to, &sender{send, head})
	w.size += n
	return n, err
}

// sender passes through net/http to conn.ReadFrom, which calls send.
type sender struct {
	send func(c net.Conn, head []byte) (int64, error)
	head []byte
}

// Read is not called: the head was sent, and without chunks.
func (*sender) Read([]byte) (int, error) { return 0, errNotSent }

// ReadBy has read take the next bytes of the body from the connection: at most limit of
// them, which are all that is left where toTheEnd says so, and within patience each, where
// that is not 0. read returns how many it took. The error is http.ErrNotSupported where it
// was not called: ask again after another Read of [lendable] bytes or more.
func (b *body) ReadBy(read func(c net.Conn, limit int64, toTheEnd bool, patience time.Duration) (int64, error)) (int64, error) {
	left := b.response.request.ContentLength - b.taken
	c := connOf(b.response.request)
	if c == nil || !b.bare || left < lendable || len(b.early) > 0 || b.ended.Load() {
		return 0, http.ErrNotSupported
	}
	p := nowhere()
	if p == nil {
		return 0, http.ErrNotSupported
	}
	if int64(len(p)) > left {
		p = p[:left]
	}
	called := false
	c.reader = func(to net.Conn, limit int) (int, error) {
		called = true
		n, err := read(to, int64(limit), int64(limit) == left, b.timeout)
		return int(n), err
	}
	n, err := b.Read(p)
	if !called {
		// Nothing is amiss where the body has ended. Otherwise bytes went nowhere.
		c.reader = nil
		if err == nil {
			err = errNotSent
		}
	}
	return int64(n), err
}

// lendable is the size of net/http's buffer: a Read of that much empties it, and the next
// one of that much goes past it.
const lendable = 4 << 10

// nowhere is memory that net/http may believe that it has filled: what was taken from the
// connection is with someone else.
var nowhere = sync.OnceValue(func() []byte {
	p, err := unix.Mmap(-1, 0, 64<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		return nil
	}
	return p
})
