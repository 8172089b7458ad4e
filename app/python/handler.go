package python

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// restartPatience is how long a request waits for a child that is being started.
const restartPatience = 10 * time.Second

// ServeHTTP runs the app for one request.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := a.serving(r.Context())
	if c == nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "The application is being restarted.", http.StatusServiceUnavailable)
		return
	}
	x := &exchange{app: a, w: w, r: r, wake: make(chan struct{}, 1)}
	x.serve(c)
}

// serving returns the child, having waited for it a while, or nil.
func (a *App) serving(ctx context.Context) *child {
	a.mu.Lock()
	c := a.child
	a.mu.Unlock()
	if c != nil {
		return c
	}
	ctx, cancel := context.WithTimeout(ctx, restartPatience)
	defer cancel()
	c, _ = a.current(ctx)
	return c
}

// exchange is one request on net/http: the Sink of its Call. The Sink's methods note
// what came and wake the handler's goroutine, which does the rest.
type exchange struct {
	app  *App
	w    http.ResponseWriter
	r    *http.Request
	call *Call
	wake chan struct{}

	mu     sync.Mutex
	answer *Answer // whole, or a head
	whole  bool
	chunks []Chunk
	file   *os.File
	offset int64
	length int64
	ended  bool
	err    error
	upload *upload
}

func (x *exchange) notify() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

func (x *exchange) Answer(a *Answer) {
	x.mu.Lock()
	x.answer, x.whole, x.ended = a, true, true
	x.mu.Unlock()
	x.notify()
}

func (x *exchange) Start(a *Answer) {
	x.mu.Lock()
	x.answer = a
	x.mu.Unlock()
	x.notify()
}

func (x *exchange) Data(c Chunk) {
	x.mu.Lock()
	x.chunks = append(x.chunks, c)
	x.mu.Unlock()
	x.notify()
}

func (x *exchange) File(a *Answer, f *os.File, offset, length int64) {
	x.mu.Lock()
	x.answer, x.file, x.offset, x.length, x.ended = a, f, offset, length, true
	x.mu.Unlock()
	x.notify()
}

func (x *exchange) End(err error) {
	x.mu.Lock()
	x.ended, x.err = true, err
	x.mu.Unlock()
	x.notify()
}

func (x *exchange) Taken(n int64, err error) {
	if x.upload != nil {
		x.upload.took(n, err)
	}
}

func (x *exchange) Credit(n int) {
	if x.upload != nil {
		x.upload.add(n)
	}
}

// serve runs the request to its end, or to the client's.
func (x *exchange) serve(c *child) {
	env := environPool.Get().(*Environ)
	defer environPool.Put(env)
	req := Request{Environ: env}
	body, err := x.readBody(&req)
	if err != nil {
		x.badBody(err)
		return
	}
	x.environ(env, body, c)
	if req.File != nil {
		if x.call, err = c.submit(&req, x); errors.Is(err, ErrNotLent) {
			req.File, req.Stream = nil, true // its bytes go, then
		}
	}
	if req.Stream {
		x.upload = newUpload(body)
		x.upload.lender, _ = x.r.Body.(bodyLender)
	}
	if req.File == nil {
		x.call, err = c.submit(&req, x)
	}
	if err != nil {
		x.refused(err)
		return
	}
	if x.upload != nil {
		x.upload.start(x.call, x.notify)
		defer x.upload.stop(x.w)
	}
	defer x.discard()
	if !x.await(c) {
		return
	}
	x.respond()
}

// await waits for the head of the response. false: there is none to write.
func (x *exchange) await(c *child) bool {
	var expired <-chan time.Time
	if limit := x.app.opts.RequestTimeout; limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		expired = timer.C
	}
	for {
		select {
		case <-x.wake:
		case <-x.r.Context().Done():
			x.call.Abort()
			return false
		case <-expired:
			x.call.Abort()
			x.app.opts.Logger.Error("the app did not answer in time", "method", x.r.Method, "path", x.r.URL.Path, "limit", x.app.opts.RequestTimeout)
			x.fail(http.StatusGatewayTimeout, "The application did not answer in time.")
			if x.app.opts.Mode == Serial || x.app.opts.Mode == Tornado {
				c.giveUp()
			}
			return false
		}
		x.mu.Lock()
		answered, ended := x.answer != nil, x.ended
		x.mu.Unlock()
		if answered {
			return true
		}
		if x.upload != nil {
			if err := x.upload.failed(); err != nil {
				x.call.Abort()
				x.badBody(err)
				return false
			}
		}
		if ended {
			x.unavailable()
			return false
		}
	}
}

// refused answers for a child that did not take the request.
func (x *exchange) refused(err error) {
	if !errors.Is(err, ErrBusy) {
		x.unavailable()
		return
	}
	x.app.opts.Logger.Warn("a request is refused with 503: too many run and wait", "method", x.r.Method, "path", x.r.URL.Path)
	x.w.Header().Set("Retry-After", "1")
	x.fail(http.StatusServiceUnavailable, "The server is busy: too many requests are waiting.")
}

// unavailable answers for a child that has gone.
func (x *exchange) unavailable() {
	x.fail(http.StatusBadGateway, "The application has crashed.")
}

// discard releases what the handler did not come to use.
func (x *exchange) discard() {
	x.mu.Lock()
	chunks, file, ended := x.chunks, x.file, x.ended
	x.chunks, x.file = nil, nil
	x.mu.Unlock()
	for _, chunk := range chunks {
		chunk.Release()
	}
	if file != nil {
		file.Close()
	}
	if !ended {
		x.call.Abort()
		// Nothing comes after Abort, but something may have come before it.
		x.mu.Lock()
		chunks, file = x.chunks, x.file
		x.chunks, x.file = nil, nil
		x.mu.Unlock()
		for _, chunk := range chunks {
			chunk.Release()
		}
		if file != nil {
			file.Close()
		}
	}
}

// respond writes the response.
func (x *exchange) respond() {
	x.mu.Lock()
	a, whole, file := x.answer, x.whole, x.file
	x.mu.Unlock()
	declared := x.header(a)
	if file != nil && x.upload != nil && x.upload.body.held {
		x.upload.stop(x.w) // the app has returned, and a file is sent at once
	}
	x.beforeHead()
	bodiless := x.r.Method == http.MethodHead || a.Status == http.StatusNoContent || a.Status == http.StatusNotModified
	switch {
	case whole:
		x.respondWhole(a, declared, bodiless)
	case file != nil:
		x.respondFile(a, declared, bodiless)
	default:
		x.respondParts(a, declared, bodiless)
	}
}

// beforeHead prepares for a response that begins while the request's body is on its way:
// the app may go on to read while it writes, or has seen enough of it. net/http allows for
// both, but loses track of where the next request begins. Of a body that is held the rest is
// read before the response is sent.
func (x *exchange) beforeHead() {
	if x.upload != nil && !x.upload.body.held && !x.upload.complete() {
		_ = http.NewResponseController(x.w).EnableFullDuplex()
		x.w.Header()["Connection"] = []string{"close"}
	}
}

// fail answers in the app's stead.
func (x *exchange) fail(status int, text string) {
	x.beforeHead()
	http.Error(x.w, text, status)
}

// header copies the response's header and returns the Content-Length that it declares,
// or -1.
func (x *exchange) header(a *Answer) (declared int64) {
	declared = -1
	h := x.w.Header()
	values := make([]string, 0, len(a.Header))
	for _, f := range a.Header {
		name := http.CanonicalHeaderKey(f.Name)
		switch name {
		case "Content-Length":
			n, err := strconv.ParseInt(f.Value, 10, 64)
			if err != nil || n < 0 {
				x.app.opts.Logger.Error("the app declared a Content-Length that is no length", "value", f.Value, "path", x.r.URL.Path)
				continue
			}
			declared = n
			continue
		case "Connection":
			// The connection is the server's, but an app may ask for its end.
			if !strings.EqualFold(f.Value, "close") {
				continue
			}
		case "Transfer-Encoding", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Upgrade":
			// Hop by hop: not the app's (PEP 3333, "Other HTTP Features").
			continue
		}
		if old, ok := h[name]; ok && len(old) > 0 && name != "Server" && name != "Date" {
			h[name] = append(old, f.Value)
			continue
		}
		values = append(values, f.Value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // net/http would guess
	}
	return declared
}

func (x *exchange) respondWhole(a *Answer, declared int64, bodiless bool) {
	size := int64(len(a.Body))
	if bodiless {
		// HEAD tells the length that GET would send, where the app knows it.
		if x.r.Method == http.MethodHead && (declared >= 0 || size > 0) {
			if declared < 0 {
				declared = size
			}
			x.w.Header()["Content-Length"] = []string{strconv.FormatInt(declared, 10)}
		} else if a.Status == http.StatusNotModified && declared >= 0 {
			x.w.Header()["Content-Length"] = []string{strconv.FormatInt(declared, 10)}
		}
		x.w.WriteHeader(a.Status)
		return
	}
	body := a.Body
	if declared < 0 {
		declared = size
	}
	if size > declared {
		x.mismatch(declared, size)
		body = body[:declared]
	}
	x.w.Header()["Content-Length"] = []string{strconv.FormatInt(declared, 10)}
	x.w.WriteHeader(a.Status)
	_, _ = io.WriteString(x.w, body)
	if size < declared {
		x.mismatch(declared, size)
		x.cut(nil)
	}
}

func (x *exchange) mismatch(declared, sent int64) {
	x.app.opts.Logger.Error("the app declared another Content-Length than it sent", "declared", declared, "sent", sent, "path", x.r.URL.Path)
}

// through is a ResponseWriter that keeps what it gets; see server/buffer.
type through interface {
	// Through ends that: an app that sends a file has made all of its response.
	Through() http.ResponseWriter
}

func (x *exchange) respondFile(a *Answer, declared int64, bodiless bool) {
	x.mu.Lock()
	file, offset, length := x.file, x.offset, x.length
	x.mu.Unlock()
	if declared < 0 {
		declared = length
	}
	if a.Status != http.StatusNoContent {
		x.w.Header()["Content-Length"] = []string{strconv.FormatInt(declared, 10)}
	}
	x.w.WriteHeader(a.Status)
	if bodiless {
		return
	}
	// The app's open file has one offset for all who hold it, and sendfile moves it: a
	// second look at the file has an offset of its own.
	var body io.Reader = io.NewSectionReader(file, offset, length)
	if own, err := reopen(file); err == nil {
		defer own.Close()
		if _, err := own.Seek(offset, io.SeekStart); err == nil {
			body = io.LimitReader(own, length)
		}
	}
	// The head goes first, for the file's bytes do not pass through where it lies.
	w := x.w
	if buffered, ok := w.(through); ok {
		w = buffered.Through()
	}
	if err := http.NewResponseController(w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return // the client has gone
	}
	if n, err := io.Copy(w, body); err == nil && n < declared {
		x.mismatch(declared, n)
		x.cut(nil)
	}
}

// respondParts writes what comes as it comes.
func (x *exchange) respondParts(a *Answer, declared int64, bodiless bool) {
	if declared >= 0 && a.Status != http.StatusNoContent {
		x.w.Header()["Content-Length"] = []string{strconv.FormatInt(declared, 10)}
	}
	x.w.WriteHeader(a.Status)
	if a.Ask && x.lend(declared, bodiless) {
		return
	}
	flusher, _ := x.w.(http.Flusher)
	sent := int64(0)
	dirty := true
	for {
		x.mu.Lock()
		chunks, ended, err := x.chunks, x.ended, x.err
		x.chunks = nil
		x.mu.Unlock()
		if len(chunks) == 0 {
			if ended {
				x.finish(err, declared, sent, bodiless)
				return
			}
			if dirty && flusher != nil && !bodiless {
				flusher.Flush()
			}
			dirty = false
			select {
			case <-x.wake:
				if x.upload != nil && x.upload.failed() != nil {
					return // the client has gone: only its body tells so far
				}
			case <-x.r.Context().Done():
				return // discard aborts
			}
			continue
		}
		for i, chunk := range chunks {
			n := int64(chunk.Len())
			if bodiless || declared >= 0 && sent+n > declared {
				// What goes beyond the length, or follows a head alone, is dropped.
				if !bodiless && sent <= declared {
					if rest := declared - sent; rest > 0 {
						_, _ = x.w.Write(chunk.Append(nil)[:rest])
					}
					x.mismatch(declared, sent+n)
				}
				sent += n
				chunk.Release()
				continue
			}
			_, err := chunk.writeTo(x.stringWriter())
			chunk.Release()
			sent += n
			dirty = true
			if err != nil {
				x.mu.Lock()
				x.chunks = append(chunks[i+1:], x.chunks...)
				x.mu.Unlock()
				return // the client has gone; discard does the rest
			}
		}
	}
}

// finish ends a response that was written in parts.
func (x *exchange) finish(err error, declared, sent int64, bodiless bool) {
	switch {
	case bodiless:
	case err != nil:
		x.cut(err)
	case declared >= 0 && sent < declared:
		x.mismatch(declared, sent)
		x.cut(nil)
	}
}

// cut ends a response that is not complete. Where nothing of it has been sent the answer is
// an error, and cut returns; otherwise it sends what there is and closes the connection, by
// which the client sees that something is missing. err is why.
func (x *exchange) cut(err error) {
	if kept, ok := x.w.(interface{ Discard() bool }); ok && kept.Discard() {
		if errors.Is(err, ErrChild) {
			x.unavailable()
		} else {
			x.fail(http.StatusInternalServerError, "Internal Server Error")
		}
		return
	}
	_ = http.NewResponseController(x.w).Flush()
	panic(http.ErrAbortHandler)
}

type stringWriter interface {
	io.Writer
	io.StringWriter
}

type plainWriter struct{ io.Writer }

func (w plainWriter) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

func (x *exchange) stringWriter() stringWriter {
	if w, ok := x.w.(stringWriter); ok {
		return w
	}
	return plainWriter{x.w}
}

// badBody answers where the request's body cannot be read.
func (x *exchange) badBody(err error) {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		x.fail(http.StatusRequestEntityTooLarge, "The request's body is too large.")
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.fail(http.StatusRequestTimeout, "The request's body came too slowly.")
	default:
		x.fail(http.StatusBadRequest, "The request's body could not be read.")
	}
}

// environ writes the request's part of the environ. The body tells what its length is
// where the client did not.
func (x *exchange) environ(e *Environ, body *requestBody, c *child) {
	r := x.r
	l := requestLine{
		method: r.Method, path: r.URL.Path, query: r.URL.RawQuery, target: r.RequestURI, protocol: r.Proto, scheme: "http",
		host: r.Host, remote: r.RemoteAddr,
	}
	if r.TLS != nil {
		l.scheme = "https"
	}
	l.local, _ = r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	e.begin(&l, c)
	if r.TLS != nil {
		e.Set("HTTPS", "on")
	}
	for name, values := range r.Header {
		switch {
		case name == "Content-Length" || name == "Transfer-Encoding" || name == "Host":
			// Below, from what was understood.
		case len(values) == 1:
			e.Header(name, values[0])
		case name == "Cookie":
			e.Header(name, strings.Join(values, "; "))
		default:
			e.Header(name, strings.Join(values, ","))
		}
	}
	switch {
	case body.length >= 0:
		if body.length > 0 || r.Header["Content-Length"] != nil || r.ContentLength == 0 && r.Method != "GET" && r.Method != "HEAD" {
			e.Set("CONTENT_LENGTH", strconv.FormatInt(body.length, 10))
		}
	default:
		e.Set("HTTP_TRANSFER_ENCODING", "chunked")
	}
}
