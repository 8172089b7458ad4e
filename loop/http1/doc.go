// Package http1 is an HTTP/1.1 and 1.0 server on the event loops of package loop (RFC 9112).
// Heads are parsed in place, in the loop's buffer. A connection that waits for its next
// request is a small struct: no goroutine, no buffer, no timer of its own.
//
//	s, err := http1.New(&http1.Options{Handler: app})
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//	err = s.Serve(l) // a listener.Listener
//
// # Who is called
//
// A [Direct] is asked first. It is called on the loop with a request that has come whole,
// and answers at once, or later from wherever it likes: until then the request is an
// [Exchange] and nothing else. What it does not want is the [net/http.Handler]'s.
//
// That is called on the loop too, where its request has come whole. One that takes longer
// than [loop.Patience] keeps its goroutine, and the loop goes on with another; where
// handlers turn out to be slow again and again, each gets a goroutine from the start. So
// does one whose request has a body that is still on its way.
//
// # What it is strict about
//
// What RFC 9112 calls an error is one: lines that end without CRLF, folded fields, space
// before a colon, no Host or two, a Content-Length that is no number or comes twice or beside
// Transfer-Encoding, a coding other than chunked, chunk sizes that overflow. The client gets
// 400 (or 408, 413, 417, 431, 501, 505, as it may be) with the reason, and the end of the
// connection.
//
// TLS and HTTP/2 are for net/http. The package works on Linux.
package http1
