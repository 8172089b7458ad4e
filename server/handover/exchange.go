package handover

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/chaussette/chaussette/listener/siblings"
)

// Exchange gives requests to siblings, and is the net.Listener of those that they give.
type Exchange struct {
	siblings *siblings.Siblings
	addr     net.Addr
	log      *slog.Logger
	proxy    *httputil.ReverseProxy

	given, proxied, taken atomic.Uint64

	mu      sync.Mutex // guards what follows
	waiting []net.Conn // for Accept
	more    chan struct{}
	closed  chan struct{}
}

// New returns an Exchange for the worker on addr. It is called before s is started.
func New(s *siblings.Siblings, addr net.Addr, log *slog.Logger) *Exchange {
	e := &Exchange{siblings: s, addr: addr, log: log, more: make(chan struct{}, 1), closed: make(chan struct{})}
	e.proxy = e.newProxy()
	s.Handle(siblings.Connections, e.take)
	return e
}

// Counts are how many connections were given to siblings, how many requests were proxied
// to them, and how many connections were taken from them.
func (e *Exchange) Counts() (given, proxied, taken uint64) {
	return e.given.Load(), e.proxied.Load(), e.taken.Load()
}

// Serve has a sibling serve r, and is false, with nothing done, where there is none of
// that tag. The body must not have been read. It returns when the connection has moved, or
// the proxied request is over.
func (e *Exchange) Serve(w http.ResponseWriter, r *http.Request, to siblings.Tag) bool {
	if !e.siblings.Has(to) {
		return false
	}
	if r.TLS == nil && r.ProtoMajor == 1 {
		err := e.move(w, r, to)
		if err == nil {
			e.given.Add(1)
			return true
		}
		if !errors.Is(err, http.ErrNotSupported) {
			e.log.Warn("a connection could not be handed over to a sibling, and is closed", "sibling", to, "error", err)
			return true
		}
	}
	e.proxied.Add(1)
	clear(w.Header()) // the sibling sets its own
	e.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), ownerKey{}, owner{to, r.RemoteAddr})))
	return true
}

// gone is what a client gets whose session went away while its request was on the way.
const gone = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 41\r\n\r\n" +
	`{"code":1,"message":"Session ID unknown"}`

// move gives the connection away. With http.ErrNotSupported it is there still.
func (e *Exchange) move(w http.ResponseWriter, r *http.Request, to siblings.Tag) error {
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer nc.Close() // this process's descriptor
	message := appendHead(appendAddr(nil, ""), r)
	buffered, _ := rw.Reader.Peek(rw.Reader.Buffered())
	message = append(message, buffered...)
	socket, message, err := bare(nc, message)
	if err != nil {
		return err
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = e.siblings.HandOver(to, siblings.Connections, message, int(fd)) })
	if errors.Is(failed, siblings.ErrGone) {
		_, err := nc.Write([]byte(gone))
		return errors.Join(failed, err)
	}
	return errors.Join(err, failed)
}

// appendHead appends the head of r as it goes over the wire.
func appendHead(b []byte, r *http.Request) []byte {
	line := func(parts ...string) {
		for _, p := range parts {
			b = append(b, p...)
		}
		b = append(b, "\r\n"...)
	}
	uri := r.RequestURI
	if uri == "" {
		uri = r.URL.RequestURI()
	}
	line(r.Method, " ", uri, " ", r.Proto)
	line("Host: ", r.Host)
	if len(r.TransferEncoding) > 0 { // chunked: net/http knows no other
		line("Transfer-Encoding: ", r.TransferEncoding[0])
	}
	for name := range r.Trailer {
		line("Trailer: ", name)
	}
	for name, values := range r.Header {
		for _, v := range values {
			line(name, ": ", v)
		}
	}
	line()
	return b
}

func appendAddr(b []byte, addr string) []byte {
	b = binary.AppendUvarint(b, uint64(len(addr)))
	return append(b, addr...)
}

var errTwice = errors.New("a proxied request is not proxied again")

// bare unwraps nc. To what was read it appends what a wrapper has read and keeps.
func bare(nc net.Conn, read []byte) (syscall.Conn, []byte, error) {
	for {
		switch c := nc.(type) {
		case *resumed:
			if c.remote != nil {
				return nil, nil, errTwice
			}
			read = append(read, c.read...)
			nc = c.Conn
		case *net.TCPConn:
			return c, read, nil
		case *net.UnixConn:
			return c, read, nil
		case interface{ NetConn() net.Conn }:
			inner := c.NetConn()
			if _, wraps := inner.(interface{ NetConn() net.Conn }); !wraps {
				if _, bare := inner.(syscall.Conn); !bare {
					// It still has something that was read, and says so by hiding the rest.
					early := make([]byte, 4096)
					n, err := inner.Read(early)
					if err != nil {
						return nil, nil, err
					}
					read = append(read, early[:n]...)
					continue
				}
			}
			nc = inner
		default:
			return nil, nil, fmt.Errorf("a %T cannot be handed over", nc)
		}
	}
}

// take takes a connection from a sibling.
func (e *Exchange) take(m siblings.Message) {
	if m.FD < 0 {
		return
	}
	file := os.NewFile(uintptr(m.FD), "connection")
	defer file.Close()
	size, n := binary.Uvarint(m.Payload)
	if n <= 0 || size > uint64(len(m.Payload)-n) {
		e.log.Warn("a sibling's connection is dropped: not a message of this version", "sibling", m.From)
		return
	}
	rest := m.Payload[n:]
	nc, err := net.FileConn(file)
	if err != nil {
		e.log.Warn("a sibling's connection is lost", "sibling", m.From, "error", err)
		return
	}
	c := &resumed{Conn: nc, read: rest[size:]}
	if size > 0 {
		c.remote = address(rest[:size])
	}
	e.mu.Lock()
	select {
	case <-e.closed:
		e.mu.Unlock()
		// Its session has been closed with the others.
		_, _ = nc.Write([]byte(gone))
		_ = nc.Close()
		return
	default:
	}
	e.taken.Add(1)
	e.waiting = append(e.waiting, c)
	e.mu.Unlock()
	select {
	case e.more <- struct{}{}:
	default:
	}
}

// Accept implements net.Listener.
func (e *Exchange) Accept() (net.Conn, error) {
	for {
		e.mu.Lock()
		if len(e.waiting) > 0 {
			c := e.waiting[0]
			e.waiting = e.waiting[1:]
			e.mu.Unlock()
			return c, nil
		}
		e.waiting = nil
		e.mu.Unlock()
		select {
		case <-e.more:
		case <-e.closed:
			e.mu.Lock()
			none := len(e.waiting) == 0
			e.mu.Unlock()
			if none {
				return nil, net.ErrClosed
			}
		}
	}
}

// Addr implements net.Listener.
func (e *Exchange) Addr() net.Addr { return e.addr }

// Close implements net.Listener. What was taken before is still accepted; what comes
// after is told that its session is gone.
func (e *Exchange) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.closed:
	default:
		close(e.closed)
	}
	return nil
}
