package python

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// requestBody is what is known of a request's body before the app is called.
type requestBody struct {
	length int64 // -1: unknown, chunked
	from   io.Reader
	held   bool // it is all there: see server/std
}

// readBody reads a small body into req, and leaves a large one for an upload.
func (x *exchange) readBody(req *Request) (*requestBody, error) {
	r := x.r
	body := &requestBody{length: r.ContentLength, from: r.Body}
	switch {
	case r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody:
		body.length = 0
		return body, nil
	case r.ContentLength > 0 && r.ContentLength <= inlineBody && r.Header.Get("Expect") == "":
		// With Expect: 100-continue the first read tells the client to go on, which
		// is the app's to decide.
		req.Body = make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, req.Body)
		return body, err
	}
	if kept, ok := r.Body.(interface{ File() *os.File }); ok && kept.File() != nil {
		req.File = kept.File()
		return body, nil
	}
	if h, ok := r.Body.(interface{ Held() bool }); ok {
		body.held = h.Held()
	}
	req.Stream = true
	return body, nil
}

// upload passes a request's body to the child, as fast as the app reads it. One goroutine
// runs it; the handler starts and stops it.
type upload struct {
	body *requestBody
	call *Call
	fail func() // wakes the handler after an error
	done chan struct{}

	mu      sync.Mutex
	credit  int
	stopped bool
	wake    chan struct{} // has a value after credit or stop
	err     error
	whole   bool // the body came to its end; done guards it
	// last is how many bytes are lent if they are the body's last, else -1.
	last int64
	// returning: the child has given back what was the last: done is about to be closed.
	returning bool

	over bool // stop has been called; of the handler

	lender bodyLender    // nil: it goes by the pipe
	taken  chan taken    // from Taken; one at a time is on its way
	ended  chan struct{} // closed by stop
}

// taken is what the child says of a connection that it gives back.
type taken struct {
	n   int64
	err error
}

func newUpload(body *requestBody) *upload {
	return &upload{body: body, last: -1, done: make(chan struct{}), wake: make(chan struct{}, 1), taken: make(chan taken, 1), ended: make(chan struct{})}
}

// add takes n bytes of credit.
func (u *upload) add(n int) {
	u.mu.Lock()
	u.credit += n
	u.mu.Unlock()
	u.nudge()
}

// took is Taken.
func (u *upload) took(n int64, err error) {
	u.mu.Lock()
	u.returning = u.returning || err != nil && err != ErrNotLent || n == u.last
	u.mu.Unlock()
	select {
	case u.taken <- taken{n, err}:
	default: // a child that gives back what it does not have
	}
}

func (u *upload) nudge() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

func (u *upload) start(call *Call, fail func()) {
	u.call, u.fail = call, fail
	go u.run()
}

// linger is how long a client may go on to send a body that no one reads. To close its
// connection at once would reset it, and the response could be lost (RFC 9112, 9.6).
const linger = 500 * time.Millisecond

// stop ends the upload after the response. If the body has not come to its end, the
// connection is closed after this; what is left of one that is held is read before. A second
// call does nothing.
func (u *upload) stop(w http.ResponseWriter) {
	if u.over {
		return
	}
	u.over = true
	u.mu.Lock()
	u.stopped = true
	u.mu.Unlock()
	close(u.ended)
	u.nudge()
	if u.complete() {
		return
	}
	control := http.NewResponseController(w)
	_ = control.Flush()
	_ = control.SetReadDeadline(time.Now().Add(linger))
	<-u.done
	if !u.complete() {
		_, _ = io.Copy(io.Discard, io.LimitReader(u.body.from, maxLinger))
	}
}

// maxLinger bounds what is read for nothing, in bytes.
const maxLinger = 64 << 20

// complete says whether the whole body is with the child.
func (u *upload) complete() bool {
	u.mu.Lock()
	returning := u.returning
	u.mu.Unlock()
	if returning {
		<-u.done
	}
	select {
	case <-u.done:
		return u.failed() == nil && u.whole
	default:
		return false
	}
}

// failed is why the body could not be read.
func (u *upload) failed() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

// maxRefused is how often it is asked for a connection in vain.
const maxRefused = 3

func (u *upload) run() {
	defer close(u.done)
	arena := u.call.child.arena
	var heap []byte
	fast := true
	refused := 0 // how often the connection was not lent
	for {
		limit, ok := u.await()
		if !ok {
			return
		}
		var buf []byte
		slot, shared := uint32(0), false
		// A slot is for those who fill it: a slow client would keep it for nothing.
		if fast && (u.lender == nil || refused > 0) {
			slot, shared = arena.take()
		}
		if shared {
			buf = arena.slot(slot)
		} else {
			if heap == nil {
				heap = make([]byte, 32<<10)
			}
			buf = heap
		}
		n, err := u.body.from.Read(buf[:min(limit, len(buf))])
		fast = n >= 8<<10
		if n > 0 {
			u.mu.Lock()
			u.credit -= n
			u.mu.Unlock()
		}
		first := buf[:n]
		// After a refusal, what has come already is to be read: as long as Read fills buf
		// there is more of that.
		for err == nil && u.lender != nil && (refused == 0 || n < len(buf)) {
			var m int64
			m, err = u.lend(first)
			if errors.Is(err, http.ErrNotSupported) {
				err = nil
				if refused++; refused > maxRefused {
					u.lender = nil
				}
				break
			}
			n = 0
			first = nil
			if err == nil && m == 0 {
				u.lender = nil
			}
		}
		switch {
		case shared && n > 0:
			u.call.sendSlot(slot, n)
			arena.release()
		case shared:
			arena.put(slot)
			arena.release()
		case n > 0:
			u.call.Send(buf[:n])
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				u.whole = true
				if u.last < 0 {
					u.call.CloseSend()
				}
				return
			}
			u.mu.Lock()
			if !u.stopped {
				u.err = err
			}
			u.mu.Unlock()
			u.fail()
			return
		}
	}
}

// await waits until something may be sent.
func (u *upload) await() (limit int, ok bool) {
	for {
		u.mu.Lock()
		limit, stopped := u.credit, u.stopped
		u.mu.Unlock()
		if stopped {
			return 0, false
		}
		if limit > 0 {
			return limit, true
		}
		<-u.wake
	}
}
