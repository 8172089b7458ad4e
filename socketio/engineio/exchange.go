package engineio

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Exchange is one HTTP request and its answer, which may be given at any time and by any
// goroutine: a poll that waits is answered by whoever has something to send, and needs no
// goroutine until then. See Server.ServeExchange.
//
// Respond is called once. The other methods are called before Respond, and before
// ServeExchange returns: what they give out need not be there any longer, strings apart.
type Exchange interface {
	// Method, Path (unescaped) and Query (what follows the question mark) are of the
	// request line.
	Method() string
	Path() string
	Query() string
	// Header is the value of a header with this canonical name, or empty. If it came
	// more than once the values are joined by commas.
	Header(name string) string
	// RemoteAddr is the client's address as http.Request has it.
	RemoteAddr() string
	// Request is the whole request without its body. It is asked for at handshakes, and for
	// Options.Header and Options.Refused. It may be kept.
	Request() *http.Request
	// Body is the whole body. If that is larger than max bytes the error is, or wraps, a
	// *http.MaxBytesError, and the connection ends with the answer.
	Body(max int64) ([]byte, error)
	// OnGone has f called if the client goes before it is answered: once, by any
	// goroutine, and not before ServeExchange has returned.
	OnGone(f func())
	// Respond answers with these header fields, a Content-Length, and body. It does not
	// wait for the client, and keeps neither header nor body.
	Respond(status int, header []Field, body []byte)
}

// Field is a header field of an answer.
type Field struct{ Name, Value string }

// httpExchange is an Exchange of net/http, whose goroutine waits for the answer.
type httpExchange struct {
	w        http.ResponseWriter
	r        *http.Request
	answered chan response
	gone     func()
}

type response struct {
	status int
	header []Field
	body   []byte
}

func newHTTPExchange(w http.ResponseWriter, r *http.Request) *httpExchange {
	return &httpExchange{w: w, r: r, answered: make(chan response, 1)}
}

// Method implements Exchange.
func (x *httpExchange) Method() string { return x.r.Method }

// Path implements Exchange.
func (x *httpExchange) Path() string { return x.r.URL.Path }

// Query implements Exchange.
func (x *httpExchange) Query() string { return x.r.URL.RawQuery }

// Header implements Exchange.
func (x *httpExchange) Header(name string) string {
	if values := x.r.Header[name]; len(values) > 1 {
		return strings.Join(values, ", ")
	}
	return x.r.Header.Get(name)
}

// RemoteAddr implements Exchange.
func (x *httpExchange) RemoteAddr() string { return x.r.RemoteAddr }

// Request implements Exchange.
func (x *httpExchange) Request() *http.Request { return x.r }

// Body implements Exchange.
func (x *httpExchange) Body(max int64) ([]byte, error) {
	limited := http.MaxBytesReader(x.w, x.r.Body, max)
	if n := x.r.ContentLength; n > 0 && n <= max {
		body := make([]byte, n)
		_, err := io.ReadFull(limited, body)
		return body, err
	}
	return io.ReadAll(limited)
}

// OnGone implements Exchange.
func (x *httpExchange) OnGone(f func()) { x.gone = f }

// Respond implements Exchange.
func (x *httpExchange) Respond(status int, header []Field, body []byte) {
	x.answered <- response{status, header, bytes.Clone(body)}
}

// wait writes the answer when it is there.
func (x *httpExchange) wait() {
	select {
	case a := <-x.answered:
		x.write(a)
		return
	default:
	}
	select {
	case a := <-x.answered:
		x.write(a)
	case <-x.r.Context().Done():
		if x.gone != nil {
			x.gone()
		}
	}
}

func (x *httpExchange) write(a response) {
	h := x.w.Header()
	for _, f := range a.header {
		switch f.Name {
		case "Set-Cookie", "Vary": // a middleware may have some, too
			h.Add(f.Name, f.Value)
		default:
			h.Set(f.Name, f.Value)
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	if a.status == http.StatusNoContent {
		h.Del("Content-Length")
	}
	x.w.WriteHeader(a.status)
	_, _ = x.w.Write(a.body)
}
