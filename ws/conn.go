package ws

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Conn is one open WebSocket, the server's side.
//
// All methods may be called from any goroutine, but one goroutine at a time reads (Read,
// Reader and what it returned). Messages are sent in the order of the calls.
//
// A Conn is read by Read and Reader, or by the Handler given to Serve. Pings of the peer
// and its close frame are answered while nobody reads, too, on ws/epoll; on ws/gorilla
// somebody has to read.
type Conn struct {
	driver Driver
	terms  *terms
	head   string // the peer's address and the request, see compact

	mu     sync.Mutex // guards what follows
	values *[]value   // few, if any: a map costs more
	groups *member    // a list by next
	ended  bool
	served bool
}

type value struct{ key, value any }

// terms are what connections agree on. Those that agree on the same share them.
type terms struct {
	config      *Config
	deflate     *DeflateParams
	subprotocol string
}

// common are the terms of the last handshake without a subprotocol and compression.
var common atomic.Pointer[terms]

func termsOf(h *Handshake) *terms {
	t := &terms{h.Config, h.Deflate, h.Subprotocol}
	if h.Deflate != nil || h.Subprotocol != "" {
		return t
	}
	if last := common.Load(); last != nil && *last == *t {
		return last
	}
	common.Store(t)
	return t
}

// Init makes c a Conn that d drives: for engines, before anybody else has c.
func (c *Conn) Init(d Driver, h *Handshake) {
	c.driver, c.terms = d, termsOf(h)
	if h.Request != nil {
		c.head = compact(h.Request)
	}
}

// End makes c leave its Groups: for engines, when the connection has ended and before
// the handler's Close. It must be called once.
func (c *Conn) End() {
	c.mu.Lock()
	m := c.groups
	c.groups, c.ended = nil, true
	c.mu.Unlock()
	for ; m != nil; m = m.next {
		m.group.drop(m)
	}
}

// Serve gives the connection to h, which is called from now on, beginning with Open. It
// returns at once. What has arrived before is not lost. A Conn is served once, and not
// read by Read or Reader then.
func (c *Conn) Serve(h Handler) {
	c.mu.Lock()
	c.served = true
	c.mu.Unlock()
	c.driver.Serve(h)
}

// Served reports whether Serve was called.
func (c *Conn) Served() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.served
}

// Read waits for the next message and returns it; the slice is the caller's. If ctx ends
// first, the connection is cut, for the message may have been half read, and the error is
// ctx.Err(). Other errors are a *CloseError, at every call after the first, too.
func (c *Conn) Read(ctx context.Context) (MessageType, []byte, error) { return c.driver.Read(ctx) }

// Reader waits for the next message and returns a reader of it, which ends with io.EOF
// after the last fragment. The next call discards what was not read. Text is checked as
// it is read. The rest is as with Read; ctx counts for the whole message.
func (c *Conn) Reader(ctx context.Context) (MessageType, io.Reader, error) {
	return c.driver.Reader(ctx)
}

// Write sends a message: it writes what the socket takes and queues the rest. While the
// queue has no room it waits, so that a fast sender is slowed down to what the peer
// reads. If ctx ends before, nothing of the message is sent, the error is ctx.Err(), and
// the connection goes on. p is not kept. Text is not checked to be UTF-8.
func (c *Conn) Write(ctx context.Context, typ MessageType, p []byte) error {
	if err := check(typ); err != nil {
		return err
	}
	return c.driver.Write(ctx, typ, p)
}

// Writer returns a writer of one message, which is sent in fragments as it is written,
// under the rules of Write, and finished by Close. Other messages wait until then. When
// ctx ends before, the connection is cut, since half a message cannot be taken back.
func (c *Conn) Writer(ctx context.Context, typ MessageType) (io.WriteCloser, error) {
	if err := check(typ); err != nil {
		return nil, err
	}
	return c.driver.Writer(ctx, typ)
}

// Send is Write for those who cannot wait, as a broadcast: it never blocks. If the queue
// has no room, it returns an ErrQueueFull and Config.Overflow says what happens: the
// message is dropped, or the connection is closed with StatusTryAgainLater.
func (c *Conn) Send(typ MessageType, p []byte) error {
	if err := check(typ); err != nil {
		return err
	}
	return c.driver.Send(typ, p)
}

// SendPrepared is Send for what is encoded already. It makes no copy unless the message
// has to wait, and then none that other connections do not share.
func (c *Conn) SendPrepared(p *Prepared) error { return c.driver.SendPrepared(p) }

// SendPreparedTo sends p to conns, but for those in except, and returns how many took it.
// It never waits for a slow peer: see Send.
func SendPreparedTo(conns []*Conn, p *Prepared, except ...*Conn) int {
	if len(conns) > 1 {
		if fan, ok := conns[0].driver.(Fan); ok {
			return fan.SendPreparedTo(conns, p, except)
		}
	}
	sent := 0
	for _, c := range conns {
		if (len(except) == 0 || !slices.Contains(except, c)) && c.SendPrepared(p) == nil {
			sent++
		}
	}
	return sent
}

// Driver is the engine's side of c: for engines.
func (c *Conn) Driver() Driver { return c.driver }

// Ping sends a ping and waits for its pong. It must not be called from a Handler's call
// for c: the pong is read after that has returned.
func (c *Conn) Ping(ctx context.Context) error { return c.driver.Ping(ctx) }

// Close begins the close handshake: what is queued is still sent, then a close frame with
// code and reason (at most 123 bytes of it). It does not wait. The connection ends when
// the peer has answered, or after Config.CloseTimeout. Later calls, and one after the
// peer has closed, do nothing and return a *CloseError. StatusNone sends a frame without
// a code; any other that is not Sendable is refused with an error.
func (c *Conn) Close(code StatusCode, reason string) error {
	if !code.Sendable() && code != StatusNone {
		return errors.New("websocket: " + code.String() + " must not be sent")
	}
	if code == StatusNone {
		reason = ""
	}
	return c.driver.Close(code, CutReason(reason))
}

// CloseNow cuts the connection without a close frame. What is queued is lost.
func (c *Conn) CloseNow() error { return c.driver.CloseNow() }

// Queued is how many bytes wait for the peer to read, frame headers included.
func (c *Conn) Queued() int64 { return c.driver.Queued() }

// Subprotocol is what was negotiated, or empty.
func (c *Conn) Subprotocol() string { return c.terms.subprotocol }

// Deflate is what was negotiated of permessage-deflate, or nil.
func (c *Conn) Deflate() *DeflateParams { return c.terms.deflate }

// Config has the limits of this connection. It must not be changed.
func (c *Conn) Config() *Config { return c.terms.config }

// RemoteAddr is the peer's address as http.Request has it.
func (c *Conn) RemoteAddr() string {
	remote, _, _ := strings.Cut(c.head, "\n")
	return remote
}

// Request is the upgrade request: method, URL, Host, RemoteAddr and headers, but those of
// the handshake itself. An idle connection keeps it as a string, from which each call
// makes a new Request: keep what you need of it. Values that a middleware has put in the
// original's context are not there; see SetValue.
func (c *Conn) Request() *http.Request {
	remote, rest, _ := strings.Cut(c.head, "\n")
	uri, rest, _ := strings.Cut(rest, "\n")
	head := "GET " + uri + " HTTP/1.1\r\nHost: " + rest + "\r\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
	if err != nil { // the engine was given no request
		r = &http.Request{Method: http.MethodGet, Header: http.Header{}}
	}
	r.Body = http.NoBody
	r.RemoteAddr = remote
	return r
}

// compact is what Request needs of r, in one string of no more bytes than it takes: lines
// with the peer's address, the URI, the host, and the headers that not every upgrade has.
func compact(r *http.Request) string {
	uri := r.RequestURI
	if uri == "" {
		uri = r.URL.RequestURI()
	}
	size := len(r.RemoteAddr) + len(uri) + len(r.Host) + len("\n\n\r\n")
	eachKept(r.Header, func(name, value string) { size += len(name) + len(value) + len(": \r\n") })
	b := make([]byte, 0, size)
	b = append(b, r.RemoteAddr...)
	b = append(b, '\n')
	b = append(b, uri...)
	b = append(b, '\n')
	b = append(b, r.Host...)
	b = append(b, "\r\n"...)
	eachKept(r.Header, func(name, value string) {
		b = append(b, name...)
		b = append(b, ": "...)
		b = append(b, value...)
		b = append(b, "\r\n"...)
	})
	return string(b)
}

func eachKept(h http.Header, f func(name, value string)) {
	for name, values := range h {
		switch name {
		case "Connection", "Upgrade", "Sec-Websocket-Key", "Sec-Websocket-Version":
			continue
		}
		for _, v := range values {
			f(name, v)
		}
	}
}

// Value returns what SetValue has stored under key, or nil. Keys are compared as those of
// context.Context are: use a type of your own.
func (c *Conn) Value(key any) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values == nil {
		return nil
	}
	for _, v := range *c.values {
		if v.key == key {
			return v.value
		}
	}
	return nil
}

// SetValue stores a value with the connection, for as long as it lives; nil removes it.
func (c *Conn) SetValue(key, v any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values == nil {
		c.values = new([]value)
	}
	values := slices.DeleteFunc(*c.values, func(old value) bool { return old.key == key })
	if v != nil {
		values = append(values, value{key, v})
	}
	*c.values = values
}

func check(typ MessageType) error {
	if typ != Text && typ != Binary {
		return errors.New("websocket: a message is Text or Binary, not " + typ.String())
	}
	return nil
}

// CutReason returns as much of reason as a close frame has room for, 123 bytes, cut
// between runes (RFC 6455, 5.5.1).
func CutReason(reason string) string {
	const room = 123
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	if len(reason) <= room {
		return reason
	}
	end := room
	for end > 0 && reason[end]&0xC0 == 0x80 {
		end--
	}
	return reason[:end]
}
