package ws

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
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
	driver      Driver
	config      *Config
	deflate     *DeflateParams
	subprotocol string
	head        string // the peer's address and the request, see compact

	mu     sync.Mutex // guards what follows
	values []value    // few, if any: a map costs more
	groups *member    // a list by next
	ended  bool
	served bool
}

type value struct{ key, value any }

// Init makes c a Conn that d drives: for engines, before anybody else has c.
func (c *Conn) Init(d Driver, h *Handshake) {
	c.driver, c.config, c.deflate, c.subprotocol = d, h.Config, h.Deflate, h.Subprotocol
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
func (c *Conn) Subprotocol() string { return c.subprotocol }

// Deflate is what was negotiated of permessage-deflate, or nil.
func (c *Conn) Deflate() *DeflateParams { return c.deflate }

// Config has the limits of this connection. It must not be changed.
func (c *Conn) Config() *Config { return c.config }

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
	remote, head, _ := strings.Cut(c.head, "\n")
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
	if err != nil { // the engine was given no request
		r = &http.Request{Method: http.MethodGet, Header: http.Header{}}
	}
	r.Body = http.NoBody
	r.RemoteAddr = remote
	return r
}

// compact is r as text, after a line with its RemoteAddr. The headers that every upgrade
// has are left out.
func compact(r *http.Request) string {
	var b strings.Builder
	uri := r.RequestURI
	if uri == "" {
		uri = r.URL.RequestURI()
	}
	b.Grow(64)
	b.WriteString(r.RemoteAddr)
	b.WriteString("\nGET ")
	b.WriteString(uri)
	b.WriteString(" HTTP/1.1\r\nHost: ")
	b.WriteString(r.Host)
	b.WriteString("\r\n")
	for name, values := range r.Header {
		switch name {
		case "Connection", "Upgrade", "Sec-Websocket-Key", "Sec-Websocket-Version":
			continue
		}
		for _, v := range values {
			b.WriteString(name)
			b.WriteString(": ")
			b.WriteString(v)
			b.WriteString("\r\n")
		}
	}
	b.WriteString("\r\n")
	return b.String()
}

// Value returns what SetValue has stored under key, or nil. Keys are compared as those of
// context.Context are: use a type of your own.
func (c *Conn) Value(key any) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range c.values {
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
	for i := range c.values {
		if c.values[i].key != key {
			continue
		}
		if v == nil {
			c.values = append(c.values[:i], c.values[i+1:]...)
		} else {
			c.values[i].value = v
		}
		return
	}
	if v != nil {
		c.values = append(c.values, value{key, v})
	}
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
