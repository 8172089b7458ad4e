package handover

import (
	"context"
	"errors"
	"net/http"

	"github.com/chaussette/chaussette/listener/siblings"
)

// Serve has a sibling serve r, and is false, with nothing done, where there is none of
// that tag. The body must not have been read. It returns when the connection has moved, or
// the proxied request is over. The connection of a request for a sibling that is away is
// kept until that is back, for ten seconds at most, and nobody waits for it.
func (e *Exchange) Serve(w http.ResponseWriter, r *http.Request, to siblings.Tag) bool {
	there := e.siblings.Has(to)
	if !there && !e.mayHold(to) {
		return false
	}
	if r.TLS == nil && r.ProtoMajor == 1 {
		err := e.move(w, r, func(fd int, read []byte) error {
			err := e.Give(fd, read, to)
			if errors.Is(err, siblings.ErrGone) {
				if e.hold(fd, read, to) {
					return nil
				}
				answer(fd, gone)
			}
			return err
		})
		if err == nil {
			return true
		}
		if !errors.Is(err, http.ErrNotSupported) {
			e.log.Warn("a connection could not be handed over to a sibling, and is closed", "sibling", to, "error", err)
			return true
		}
	}
	if !there {
		return false
	}
	e.proxied.Add(1)
	clear(w.Header()) // the sibling sets its own
	e.proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), ownerKey{}, owner{to, r.RemoteAddr})))
	return true
}

// PassOn has a sibling serve r, which asks for a connection that lasts, a WebSocket or a
// session: the one with the fewest, where this worker has far more than its share of
// them, or leaves. It is false, with nothing done, otherwise; and where the connection cannot move, as
// with TLS and HTTP/2, or was passed on already. The body must not have been read.
func (e *Exchange) PassOn(w http.ResponseWriter, r *http.Request) bool {
	if r.TLS != nil || r.ProtoMajor != 1 || r.Context().Value(stayKey{}) != nil {
		return false
	}
	if !e.Crowded() {
		return false
	}
	err := e.move(w, r, func(fd int, read []byte) error {
		err := e.Offer(fd, read)
		if errors.Is(err, ErrNobody) {
			return e.keep(fd, read) // they have all gone just now
		}
		return err
	})
	switch {
	case err == nil:
		return true
	case errors.Is(err, http.ErrNotSupported):
		return false
	}
	e.log.Warn("a connection could not be passed on to a sibling, and is closed", "error", err)
	return true
}

// keep has this worker serve a connection that was on its way to another.
func (e *Exchange) keep(fd int, read []byte) error {
	own, err := duplicate(fd)
	if err != nil {
		return err
	}
	if !e.deliver(Moved{FD: own, Read: read, Offered: true}) {
		answer(own, busy)
		closeFD(own)
	}
	return nil
}

// gone is what a client gets whose session went away while its request was on the way.
const gone = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 41\r\n\r\n" +
	`{"code":1,"message":"Session ID unknown"}`

// busy is what one gets whose request nobody takes.
const busy = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"

// move gives a request's connection away: give gets its descriptor and what was read.
// With http.ErrNotSupported it is there still, and otherwise this worker's part is closed.
func (e *Exchange) move(w http.ResponseWriter, r *http.Request, give func(fd int, read []byte) error) error {
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer nc.Close() // this process's descriptor
	read := appendHead(nil, r)
	buffered, _ := rw.Reader.Peek(rw.Reader.Buffered())
	socket, read, err := bare(nc, append(read, buffered...))
	if err != nil {
		return err
	}
	return control(socket, func(fd int) error { return give(fd, read) })
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
