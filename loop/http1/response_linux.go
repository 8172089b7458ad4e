package http1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaussette/chaussette/loop"
)

// response is the http.ResponseWriter of an Exchange. It knows that its handler has
// returned: what is written later goes nowhere.
type response struct {
	x       *Exchange
	request http.Request
	url     url.URL
	ctx     requestContext
	body    bodyReader
	bad     error // of the target

	readDeadline, writeDeadline atomic.Int64
	sent                        chan struct{} // has a value when something was sent; nil before it is needed

	mu       sync.Mutex // the wire's: held while the handler writes
	header   http.Header
	head     ResponseHead // once status is there
	fields   *[]byte      // the head's, while it is put together
	status   int
	buffer   *[]byte // written, and not sent
	written  int64
	typed    bool // there is a Content-Type, or shall be none
	trailers []string
	returned bool
	hijacked bool
	overdue  bool // a write deadline is over: the handler was told, and so will be the client
	muted    bool // the answer is ours; what the app writes is dropped
	limit    int  // the status of a limit that the request's body went over
}

// errReturned is what a handler gets that writes a response after it has returned.
var errReturned = errors.New("chaussette: the handler of this response has returned")

const (
	// bufferSize is how much of a response is kept before it begins to be sent: what is
	// shorter has a Content-Length without being asked.
	bufferSize = 32 << 10
	// maxWaiting is how much may wait for a client before a handler has to wait as well.
	maxWaiting = 256 << 10
)

func newResponse(x *Exchange, head *Head, raw []byte) *response {
	w, c := x.own, x.conn
	if w == nil {
		w = new(response)
	}
	w.x = x
	c.io.Lock()
	gone := x.goneLocked()
	if !gone && !x.over {
		x.taker = w
	}
	w.ctx.base, w.ctx.conn = c.contextLocked(), c
	remote := c.remoteAddrLocked()
	c.io.Unlock()
	if gone {
		w.gone()
	}
	var body io.ReadCloser = http.NoBody
	if head.Length != 0 {
		w.body = bodyReader{w: w, b: x.body}
		body = &w.body
	}
	w.bad = newRequest(&w.request, &w.url, &w.ctx, head, raw, body, remote)
	return w
}

// take makes a request that has come whole ready for a handler.
func (x *Exchange) take() *response {
	w := newResponse(x, x.head, x.raw)
	x.head, x.raw, x.body = nil, nil, nil
	return w
}

// serve calls the handler, and ends the response.
func (w *response) serve(h http.Handler) {
	x := w.x
	if x.share > 0 {
		defer x.release()
	}
	if w.bad != nil {
		x.fail(errTarget.Status, errTarget.Reason)
		return
	}
	x.conn.server.running.Add(1)
	defer x.conn.server.running.Add(-1)
	defer w.ctx.cancel(context.Canceled)
	defer w.recovered()
	if w.request.RequestURI == "*" {
		// OPTIONS, of the server as a whole: as net/http answers it.
		w.finish()
		return
	}
	h.ServeHTTP(w, &w.request)
	w.finish()
}

// gone is called when the client has gone, or ended its side.
func (w *response) gone() {
	w.ctx.cancel(context.Canceled)
	w.wake()
}

func (w *response) wake() {
	w.x.conn.io.Lock()
	sent := w.sent
	w.x.conn.io.Unlock()
	if sent != nil {
		select {
		case sent <- struct{}{}:
		default:
		}
	}
}

// recovered keeps the worker alive when a handler panics. The client gets a 500, or, where
// the response had begun, a connection that breaks off.
func (w *response) recovered() {
	v := recover()
	if v == nil {
		return
	}
	log := w.x.conn.server.options.Log
	if v != http.ErrAbortHandler {
		log.Error("the app panicked", "method", w.request.Method, "path", w.request.URL.Path, "panic", v,
			"stack", string(debug.Stack()))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.returned = true
	w.freeLocked()
	switch {
	case w.hijacked:
	case v != http.ErrAbortHandler && w.status == 0:
		w.refuseLocked(http.StatusInternalServerError)
	default:
		w.x.Cut()
	}
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lateLocked() || w.muted {
		return
	}
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %v", status)) // as net/http does
	}
	switch {
	case w.status != 0:
		w.x.conn.server.options.Log.Warn("the app writes a second status: dropped", "status", status, "first", w.status,
			"method", w.request.Method, "path", w.request.URL.Path)
	case status < 200 && status != http.StatusSwitchingProtocols:
		w.interimLocked(status)
	case w.limit != 0 && status >= 400:
		w.refuseLocked(w.limit)
	default:
		w.beginLocked(status)
	}
}

// interimLocked sends a response that another one follows (RFC 9110, 15.2).
func (w *response) interimLocked(status int) {
	if w.x.minor == 0 {
		return // it knows of none
	}
	var h ResponseHead
	h.Reset(status, "")
	for name, values := range w.header {
		for _, v := range values {
			h.Add(name, v)
		}
	}
	b := append(append([]byte(h.line), h.fields...), "\r\n"...)
	w.x.conn.io.Lock()
	defer w.x.conn.io.Unlock()
	if w.x.over || w.x.started {
		return
	}
	if p := w.x.pipe; p != nil && status == http.StatusContinue {
		p.asks = false
	}
	_ = w.x.conn.io.WriteLocked(b, nil, false)
	w.x.conn.io.FlushLocked()
}

// beginLocked takes the header as it is.
func (w *response) beginLocked(status int) {
	w.status = status
	if w.fields == nil {
		w.fields = buffers.Get().(*[]byte)
		w.head.fields = *w.fields
	}
	w.head.Reset(status, "")
	var few [16]string
	names := few[:0]
	for name := range w.header {
		if !strings.HasPrefix(name, http.TrailerPrefix) {
			names = append(names, name)
		}
	}
	if len(names) > 1 {
		slices.Sort(names)
	}
	encoded := false
	for _, name := range names {
		values := w.header[name]
		switch name {
		case "Content-Type":
			w.typed = true
		case "Content-Encoding":
			encoded = len(values) > 0 && values[0] != ""
		case "Date":
			w.head.date = true // also where it is nil: then there is none
		case "Trailer":
			for _, v := range values {
				for t := range strings.SplitSeq(v, ",") {
					w.trailers = append(w.trailers, http.CanonicalHeaderKey(strings.TrimSpace(t)))
				}
				if w.x.minor > 0 {
					w.head.add(name, v)
				}
			}
			continue
		}
		if slices.Contains(w.trailers, name) {
			continue
		}
		for _, v := range values {
			w.head.Add(name, v)
		}
	}
	w.typed = w.typed || encoded
	if _, bad := w.head.Declared(); bad != "" {
		w.x.conn.server.options.Log.Error("the app declared a Content-Length that is no length", "value", bad, "path", w.request.URL.Path)
	}
}

// refuseLocked answers in the app's stead.
func (w *response) refuseLocked(status int) {
	w.status, w.muted = status, true
	w.freeLocked()
	w.x.fail(status, http.StatusText(status))
}

func (w *response) freeLocked() {
	if w.buffer != nil {
		release(w.buffer)
		w.buffer = nil
	}
	if w.fields != nil {
		*w.fields, w.head.fields = w.head.fields, nil
		release(w.fields)
		w.fields = nil
	}
}

func (w *response) lateLocked() bool {
	if w.returned {
		w.x.conn.server.options.Log.Warn("the app writes a response after its handler has returned: dropped",
			"method", w.request.Method, "path", w.request.URL.Path)
	}
	return w.returned
}

// bodyFailed is told what a read of the request's body failed with.
func (w *response) bodyFailed(err error) {
	var tooLarge *http.MaxBytesError
	status := 0
	switch {
	case errors.As(err, &tooLarge):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		status = http.StatusRequestTimeout
	default:
		return
	}
	w.mu.Lock()
	first := w.limit == 0
	w.limit = status
	w.mu.Unlock()
	if first {
		w.x.conn.server.options.Log.Info("a request's body went over its limit", "method", w.request.Method, "path", w.request.URL.Path,
			"remote", w.request.RemoteAddr, "status", status)
	}
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err, ok := w.admitLocked(len(p)); !ok {
		if err == nil {
			return len(p), nil
		}
		return 0, err
	}
	if len(*w.buffer)+len(p) > bufferSize {
		if err := w.sendLocked(p); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	*w.buffer = append(*w.buffer, p...)
	return len(p), nil
}

// WriteString spares a copy of s.
func (w *response) WriteString(s string) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err, ok := w.admitLocked(len(s)); !ok {
		if err == nil {
			return len(s), nil
		}
		return 0, err
	}
	if len(*w.buffer)+len(s) > bufferSize {
		if err := w.sendLocked([]byte(s)); err != nil {
			return 0, err
		}
		return len(s), nil
	}
	*w.buffer = append(*w.buffer, s...)
	return len(s), nil
}

// admitLocked reports whether n more bytes of the body are to be sent; without an error
// they are to be dropped.
func (w *response) admitLocked(n int) (error, bool) {
	if w.lateLocked() {
		return errReturned, false
	}
	if w.hijacked {
		return http.ErrHijacked, false
	}
	if w.status == 0 && !w.muted {
		w.beginLocked(http.StatusOK)
	}
	switch declared := w.head.length; {
	case w.muted:
		return nil, false
	case w.status == http.StatusNoContent || w.status == http.StatusNotModified || w.status < 200:
		return http.ErrBodyNotAllowed, false
	case declared >= 0 && w.written+int64(n) > declared:
		return http.ErrContentLength, false
	}
	w.written += int64(n)
	if w.buffer == nil {
		w.buffer = buffers.Get().(*[]byte)
	}
	return nil, true
}

// typeLocked finds out what the body is, where nobody said.
func (w *response) typeLocked(p []byte) {
	if w.typed || w.x.started || len(p) == 0 {
		return
	}
	w.typed = true
	w.head.add("Content-Type", http.DetectContentType(p))
}

// sendLocked sends what was written, and p behind it.
func (w *response) sendLocked(p []byte) error {
	var first []byte
	if w.buffer != nil {
		first = *w.buffer
		*w.buffer = (*w.buffer)[:0]
	}
	if len(first) > 0 {
		w.typeLocked(first)
	} else {
		w.typeLocked(p)
	}
	x := w.x
	if !x.started {
		if err := x.Start(&w.head, w.head.length); err != nil {
			return w.failedLocked(err)
		}
	}
	for _, part := range [2][]byte{first, p} {
		if err := x.Write(part); err != nil {
			return w.failedLocked(err)
		}
	}
	return w.roomLocked(maxWaiting)
}

// failedLocked is the error that a handler gets whose client has gone.
func (w *response) failedLocked(err error) error {
	if errors.Is(err, ErrGone) {
		return fmt.Errorf("write to %s: %w", w.request.RemoteAddr, net.ErrClosed)
	}
	return err
}

// roomLocked waits until no more than limit bytes wait for the client.
func (w *response) roomLocked(limit int64) error {
	x := w.x
	io := &x.conn.io
	for {
		io.Lock()
		switch {
		case x.over:
			io.Unlock()
			return w.failedLocked(ErrGone)
		case io.WaitingLocked() <= limit:
			io.Unlock()
			return nil
		}
		if w.sent == nil {
			w.sent = make(chan struct{}, 1)
			x.onSent = func() {
				select {
				case w.sent <- struct{}{}:
				default:
				}
			}
		}
		io.FlushLocked()
		io.Unlock()
		if err := w.await(w.sent, w.writeDeadline.Load()); err != nil {
			w.overdue = true
			return err
		}
	}
}

// ReadFrom sends a file without a copy, where r is one.
func (w *response) ReadFrom(r io.Reader) (int64, error) {
	if n, ok, err := w.sendFile(r); ok {
		return n, err
	}
	return io.Copy(struct{ io.Writer }{w}, r)
}

// minFile is the least for which sendfile is worth its while.
const minFile = 16 << 10

// sendFile sends a regular file, or the beginning of one; ok is false where r is none, with
// nothing done.
func (w *response) sendFile(r io.Reader) (n int64, ok bool, err error) {
	left := int64(-1)
	from := r
	limited, isLimited := r.(*io.LimitedReader)
	if isLimited {
		from, left = limited.R, limited.N
	}
	f, isFile := from.(*os.File)
	if !isFile {
		return 0, false, nil
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, false, nil
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, false, nil
	}
	size := info.Size() - at
	if left >= 0 {
		size = min(size, left)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.returned || w.hijacked || w.muted || w.x.isHead || size < minFile {
		return 0, false, nil
	}
	if w.status == 0 {
		w.beginLocked(http.StatusOK)
	}
	if w.head.length < 0 || w.written+size > w.head.length || !w.typed {
		return 0, false, nil // it would go in chunks, or has to be looked at
	}
	if err := w.sendLocked(nil); err != nil {
		return 0, true, err
	}
	if err := w.roomLocked(0); err != nil {
		return 0, true, err
	}
	x := w.x
	x.conn.io.Lock()
	if x.over {
		x.conn.io.Unlock()
		return 0, true, w.failedLocked(ErrGone)
	}
	err = x.conn.io.WriteFileLocked(f, at, size)
	x.conn.io.Unlock()
	if err == nil {
		err = w.roomLocked(0)
	}
	if err != nil {
		return 0, true, err
	}
	w.written += size
	x.size += size
	if isLimited {
		limited.N -= size
	}
	_, err = f.Seek(at+size, io.SeekStart)
	return size, true, err
}

// FlushError sends what has been written.
func (w *response) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.lateLocked():
		return errReturned
	case w.hijacked:
		return http.ErrHijacked
	case w.muted:
		return nil
	case w.status == 0:
		w.beginLocked(http.StatusOK)
	}
	if err := w.sendLocked(nil); err != nil {
		return err
	}
	w.x.Flush()
	return nil
}

// Flush is FlushError for those who do not ask for the error.
func (w *response) Flush() { _ = w.FlushError() }

// EnableFullDuplex is for http.ResponseController. A handler may always read while it writes;
// one that says so is expected to read the body to its end, and the connection goes on then.
func (w *response) EnableFullDuplex() error {
	w.x.conn.io.Lock()
	w.x.duplex = true
	w.x.conn.io.Unlock()
	return nil
}

// SetReadDeadline bounds the reads of the body.
func (w *response) SetReadDeadline(t time.Time) error {
	w.readDeadline.Store(nanoseconds(t))
	if p := w.x.pipe; p != nil {
		p.signal() // it looks again
	}
	return nil
}

// SetWriteDeadline bounds the writes that wait for the client.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.writeDeadline.Store(nanoseconds(t))
	w.wake()
	return nil
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(t.UnixNano(), 1)
}

// Hijack gives the connection away.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fd, rest, err := w.detachLocked(detached)
	if err != nil {
		return nil, nil, err
	}
	file := os.NewFile(uintptr(fd), "connection")
	nc, err := net.FileConn(file)
	file.Close()
	if err != nil {
		return nil, nil, err
	}
	in := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(rest), nc), max(4096, len(rest)))
	if _, err := in.Peek(len(rest)); err != nil {
		nc.Close()
		return nil, nil, err
	}
	return nc, bufio.NewReadWriter(in, bufio.NewWriter(nc)), nil
}

// Detach is Hijack for those who want the descriptor, which does not block, and what was
// read behind the request. They own both.
func (w *response) Detach() (fd int, rest []byte, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.detachLocked(detached)
}

// MoveTo is Detach for another Conn on the same loops: it gets the descriptor as if by
// loop.Group.Add. Where its group is not that of the server the error is
// errors.ErrUnsupported, and nothing has happened.
func (w *response) MoveTo(group *loop.Group, to *loop.Conn, owner loop.Owner) (rest []byte, err error) {
	if group != w.x.conn.server.group {
		return nil, errors.ErrUnsupported
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, rest, err = w.detachLocked(func(c *loop.Conn) int {
		if !c.MoveLocked(to, owner) {
			return -1
		}
		return 0
	})
	return rest, err
}

func detached(c *loop.Conn) int { return c.DetachLocked() }

// detachLocked has take take the connection; what it returns is not negative if it could.
func (w *response) detachLocked(take func(*loop.Conn) int) (fd int, rest []byte, err error) {
	if w.lateLocked() {
		return -1, nil, errReturned
	}
	if w.hijacked {
		return -1, nil, http.ErrHijacked
	}
	if w.status != 0 {
		if err := w.sendLocked(nil); err != nil { // what was said before goes before
			return -1, nil, err
		}
	}
	if fd, rest = w.x.detach(w.body.b, take); fd < 0 {
		return -1, nil, net.ErrClosed
	}
	w.hijacked = true
	w.freeLocked()
	if w.status == 0 {
		w.status = http.StatusSwitchingProtocols
	}
	w.x.status = w.status
	w.x.logged()
	return fd, rest, nil
}

// finish ends the app's use of the response, and gives the answer that it owed.
func (w *response) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.returned = true
	if w.hijacked || w.muted {
		return
	}
	if w.status == 0 {
		if w.limit != 0 {
			w.refuseLocked(w.limit)
			return
		}
		w.beginLocked(http.StatusOK)
	}
	var rest []byte
	if w.buffer != nil {
		rest = *w.buffer
	}
	defer w.freeLocked()
	x := w.x
	short := w.head.length >= 0 && w.written < w.head.length && !x.bodiless(w.status)
	if !x.started && !short && !w.hasTrailersLocked() {
		w.typeLocked(rest)
		_ = x.Answer(&w.head, rest)
		return
	}
	if err := w.sendLocked(nil); err != nil {
		x.Cut()
		return
	}
	if short || w.overdue {
		x.Cut() // the client sees that something is missing
		return
	}
	x.end(w.trailerLocked())
}

func (w *response) hasTrailersLocked() bool {
	if len(w.trailers) > 0 {
		return true
	}
	for name := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// trailerLocked are the fields that go behind the body, in chunks only (RFC 9112, 7.1.2).
func (w *response) trailerLocked() []byte {
	if w.header == nil {
		return nil
	}
	var h ResponseHead
	for name, values := range w.header {
		key, prefixed := strings.CutPrefix(name, http.TrailerPrefix)
		if !prefixed && !slices.Contains(w.trailers, name) {
			continue
		}
		for _, v := range values {
			h.Add(key, v)
		}
	}
	return h.fields
}
