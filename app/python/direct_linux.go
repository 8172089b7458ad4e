package python

import (
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaussette/chaussette/loop/http1"
)

// ServeDirect implements http1.Direct: the request goes from the loop's buffer into the
// child's batch, and its answer from the child's batch to the socket.
func (a *App) ServeDirect(x *http1.Exchange) bool {
	if x.Upgrade() && a.opts.Mode == Tornado {
		return false
	}
	a.mu.Lock()
	c := a.child
	a.mu.Unlock()
	if c == nil {
		return false // the Handler waits for it
	}
	env := environPool.Get().(*Environ)
	defer environPool.Put(env)
	if !c.directEnviron(env, x) {
		return false // the Handler says what is wrong
	}
	d := directs.Get().(*direct)
	d.app, d.x, d.child = a, x, c
	r := Request{Environ: env, Body: x.Body()}
	if a.habits != nil && len(r.Body) == 0 && string(x.Method()) == http.MethodGet {
		path, _, _ := strings.Cut(textOf(x.Target()), "?")
		d.habit = a.habits.of(path)
	}
	var call *Call // d may be another's as soon as its answer has come
	var err error
	if d.habit == nil || !d.habit.Load() || !x.Grant(func(fd int) {
		r.granted, r.fd = true, fd
		call, err = d.submit(&r)
	}) {
		call, err = d.submit(&r)
	}
	if err != nil {
		d.free()
		return false
	}
	x.OnGone(call.gone)
	x.AtRoundEnd(c)
	return true
}

// submit puts the request into the child's batch. Its answer may come as soon as the child's
// lock is free.
func (d *direct) submit(r *Request) (*Call, error) {
	c := d.child
	c.mu.Lock()
	defer c.mu.Unlock()
	call, err := c.addLocked(r, d)
	d.call = call
	if limit := d.app.opts.RequestTimeout; limit > 0 && err == nil {
		d.watch(call, limit)
	}
	return call, err
}

// gone aborts the call of a client that has gone.
func (c *Call) gone(error) { c.Abort() }

var directs = sync.Pool{New: func() any { return new(direct) }}

// direct is one request on the event loop: the Sink of its Call.
type direct struct {
	app   *App
	child *child
	x     *http1.Exchange
	call  *Call
	head  http1.ResponseHead
	habit *atomic.Bool // of the path; nil where it is not minded

	// Of a response in parts.
	declared, sent int64
	parts          *parts
	lent           bool   // the child writes on the connection itself
	spool          *spool // where the parts are kept until the app has returned, or nil

	timer *time.Timer
}

// free gives d back. Nobody has it any more: the Sink's last method was called.
func (d *direct) free() {
	if d.timer != nil || d.parts != nil {
		return // somebody might still come to it
	}
	*d = direct{head: d.head}
	directs.Put(d)
}

// header writes the head of the response.
func (d *direct) header(a *Answer) {
	d.head.Reset(a.Status, a.Reason)
	for _, f := range a.Header {
		d.head.Add(f.Name, f.Value)
	}
	var bad string
	if d.declared, bad = d.head.Declared(); bad != "" {
		d.app.opts.Logger.Error("the app declared a Content-Length that is no length", "value", bad)
	}
}

// Answer implements Sink.
func (d *direct) Answer(a *Answer) {
	d.stopWatching()
	d.note(false)
	d.header(a)
	d.answerWhole(bytesOf(a.Body))
	d.free()
}

// answerWhole answers with a body that is whole.
func (d *direct) answerWhole(body []byte) {
	size := int64(len(body))
	switch {
	case d.x.Bodiless(d.head.Status()) || d.declared < 0 || d.declared == size:
		_ = d.x.Answer(&d.head, body)
	case size > d.declared:
		d.mismatch(size)
		_ = d.x.Answer(&d.head, body[:d.declared])
	case d.app.opts.Buffered:
		d.mismatch(size)
		d.fail(http.StatusInternalServerError, "Internal Server Error")
	default:
		d.mismatch(size)
		if d.x.Start(&d.head, d.declared) == nil {
			_ = d.x.Write(body)
		}
		d.x.Cut()
	}
}

// lentAll tells whether the child has written what was declared.
func (d *direct) lentAll() bool {
	_, made := d.call.Sent()
	if d.declared < 0 || made == d.declared {
		return true
	}
	d.mismatch(made)
	return false
}

func (d *direct) mismatch(sent int64) {
	d.app.opts.Logger.Error("the app declared another Content-Length than it sent", "declared", d.declared, "sent", sent)
}

// Start implements Sink. Where the app waits to be lent the connection it is, so that the
// body goes out without a detour.
func (d *direct) Start(a *Answer) {
	d.stopWatching()
	d.header(a)
	if d.app.opts.Buffered && !a.Ask { // who asks has made all of it
		d.keep()
		return
	}
	d.parts = &parts{d: d}
	d.x.OnSent(d.parts.sent)
	ask := a.Ask
	if ask && !d.x.Bodiless(d.head.Status()) {
		asked, chunked := false, false
		err := d.x.Lend(&d.head, d.declared, func(fd int, head []byte, framed bool) error {
			asked, chunked = true, framed
			return d.call.Lend(fd, &Lending{Head: head, Chunked: framed})
		})
		if err == nil {
			d.lent = true
			d.note(!chunked)
			return
		}
		ask = !asked // who was asked has told the app
	}
	if ask {
		d.call.Keep()
	}
	_ = d.x.Start(&d.head, d.declared)
}

// begun implements grantee.
func (d *direct) begun(status int, length int64) {
	d.declared = length
	d.parts = &parts{d: d}
	d.x.OnSent(d.parts.sent)
	d.x.Granted(status, length)
	d.lent = true
}

// note makes what the app did a habit of the path.
func (d *direct) note(lends bool) {
	if d.habit != nil && d.habit.Load() != lends {
		d.habit.Store(lends)
	}
}

// Data implements Sink.
func (d *direct) Data(c Chunk) {
	if d.spool != nil {
		d.spool.write(c.bytes())
		c.Release()
		return
	}
	d.write(c.bytes())
	d.parts.hold(c)
}

// write sends a part of the body. Where the client has gone the app is told by OnGone.
func (d *direct) write(p []byte) {
	if d.lent {
		_ = d.x.Write(p) // as the child has framed it
		return
	}
	n := int64(len(p))
	if over := d.sent + n - d.declared; d.declared >= 0 && over > 0 && !d.x.Bodiless(d.head.Status()) {
		if d.sent <= d.declared {
			d.mismatch(d.sent + n)
		}
		p = p[:max(n-over, 0)]
	}
	d.sent += n
	_ = d.x.Write(p)
}

// File implements Sink.
func (d *direct) File(a *Answer, f *os.File, offset, length int64) {
	d.stopWatching()
	d.header(a)
	declared := d.declared
	if declared < 0 {
		declared = length
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		length = min(length, max(info.Size()-offset, 0))
	}
	switch {
	case d.x.Bodiless(a.Status):
		_ = d.x.Start(&d.head, declared)
		d.x.End()
		_ = f.Close()
	case length == declared:
		_ = d.x.File(&d.head, f, offset, length)
	case length > declared:
		_ = d.x.File(&d.head, f, offset, declared)
	default:
		d.mismatch(length)
		_ = f.Close()
		_ = d.x.Start(&d.head, declared)
		d.x.Cut()
	}
	d.free()
}

// End implements Sink.
func (d *direct) End(err error) {
	d.stopWatching()
	switch {
	case d.spool != nil:
		d.sendKept(err)
	case d.parts == nil: // the child has gone
		d.fail(http.StatusBadGateway, "The application has crashed.")
	case d.lent && err == nil && d.lentAll():
		d.x.End()
	case d.lent:
		d.x.Cut()
	case err != nil:
		d.x.Cut()
	case d.declared >= 0 && d.sent < d.declared && !d.x.Bodiless(d.head.Status()):
		d.mismatch(d.sent)
		d.x.Cut()
	default:
		d.x.End()
	}
	if d.parts != nil {
		d.parts.end()
	}
	d.free()
}

// Credit implements Sink: the body went with the request.
func (d *direct) Credit(int) {}

// Taken implements Sink: no body is lent.
func (d *direct) Taken(int64, error) {}

// fail answers in the app's stead.
func (d *direct) fail(status int, text string) {
	d.head.Reset(status, "")
	d.head.Add("Content-Type", "text/plain; charset=utf-8")
	d.head.Add("X-Content-Type-Options", "nosniff")
	_ = d.x.Answer(&d.head, []byte(text+"\n"))
}

// watch answers in the app's stead when it does not in time.
func (d *direct) watch(call *Call, limit time.Duration) {
	d.timer = time.AfterFunc(limit, func() {
		if !call.abort() {
			return // the answer has come
		}
		d.app.opts.Logger.Error("the app did not answer in time", "limit", limit)
		d.fail(http.StatusGatewayTimeout, "The application did not answer in time.")
		if m := d.app.opts.Mode; m == Serial || m == Tornado {
			d.child.giveUp()
		}
	})
}

func (d *direct) stopWatching() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// parts holds what was written of a response until the client takes it: the app waits for
// the credit that comes with its release.
type parts struct {
	d *direct

	mu    sync.Mutex
	held  []Chunk
	ended bool
}

// maxWaiting is how much may wait for a client before the app has to.
const maxWaiting = 128 << 10

func (p *parts) hold(c Chunk) {
	if p.d.x.Waiting() <= maxWaiting {
		c.Release()
		return
	}
	p.mu.Lock()
	p.held = append(p.held, c)
	p.mu.Unlock()
	if p.d.x.Waiting() <= maxWaiting { // it went meanwhile
		p.release()
	}
}

// sent is called with the connection's lock: others do what is to be done.
func (p *parts) sent() { go p.sentSome() }

func (p *parts) sentSome() {
	if p.d.x.Waiting() <= maxWaiting {
		p.release()
	}
}

func (p *parts) release() {
	p.mu.Lock()
	held := p.held
	p.held = nil
	p.mu.Unlock()
	for _, c := range held {
		c.Release()
	}
}

func (p *parts) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.release()
}

// directEnviron writes the request's part of the environ; false is for what has to be looked
// at more closely.
func (c *child) directEnviron(e *Environ, x *http1.Exchange) bool {
	target := textOf(x.Target())
	path, query, _ := strings.Cut(target, "?")
	if path == "" || path[0] != '/' {
		return false
	}
	if strings.IndexByte(path, '%') >= 0 {
		decoded, err := url.PathUnescape(path)
		if err != nil {
			return false
		}
		path = decoded
	}
	l := requestLine{
		method: textOf(x.Method()), path: path, query: query, target: target, protocol: "HTTP/1.1", scheme: "http",
		host: textOf(x.Host()), local: x.LocalAddr(), remote: x.RemoteAddr(),
	}
	if x.Minor() == 0 {
		l.protocol = "HTTP/1.0"
	}
	e.begin(&l, c)
	for i := range x.Fields() {
		name, value := x.Field(i)
		switch len(name) {
		case len("Host"):
			if strings.EqualFold(textOf(name), "Host") {
				continue
			}
		case len("Content-Length"):
			if strings.EqualFold(textOf(name), "Content-Length") {
				continue
			}
		}
		if joined, first := repeated(x, i); !first {
			continue
		} else if joined != "" {
			e.Header(textOf(name), joined)
			continue
		}
		e.Header(textOf(name), textOf(value))
	}
	method := x.Method()
	if n := len(x.Body()); n > 0 || x.HasLength() || string(method) != "GET" && string(method) != "HEAD" {
		var digits [20]byte
		e.Set("CONTENT_LENGTH", textOf(strconv.AppendInt(digits[:0], int64(n), 10)))
	}
	return true
}

// repeated looks for other fields of the same name. joined is empty where there is none; the
// ones that come behind the first were joined to it.
func repeated(x *http1.Exchange, at int) (joined string, first bool) {
	name, value := x.Field(at)
	for i := range x.Fields() {
		if i == at {
			continue
		}
		n, v := x.Field(i)
		if len(n) != len(name) || !strings.EqualFold(textOf(n), textOf(name)) {
			continue
		}
		if i < at {
			return "", false
		}
		separator := ","
		if strings.EqualFold(textOf(name), "Cookie") {
			separator = "; "
		}
		if joined == "" {
			joined = string(value)
		}
		joined += separator + string(v)
	}
	return joined, true
}
