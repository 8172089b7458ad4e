package http1

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// pipe carries a request's body from the loop to the handler that reads it. It is guarded
// by the connection's lock.
type pipe struct {
	b       []byte // has come, and was not read
	err     error  // comes behind b: io.EOF is the end
	asks    bool   // the client waits for 100 Continue
	dropped bool   // nobody reads any more
	paused  bool   // the loop does not read: nobody has asked for more than there is
	asked   time.Time
	wake    chan struct{}
}

func (p *pipe) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// failLocked ends the body with an error, unless it has ended.
func (p *pipe) failLocked(err error) {
	if p.err == nil {
		if errors.Is(err, io.EOF) || err == nil {
			err = io.ErrUnexpectedEOF
		}
		p.err = err
	}
	p.signal()
}

func (p *pipe) dropLocked() {
	p.dropped, p.b, p.paused = true, nil, false
	p.failLocked(http.ErrBodyReadAfterClose)
}

// takeLocked takes what was not read.
func (p *pipe) takeLocked() []byte {
	b := p.b
	p.dropLocked()
	return b
}

// receive takes from b what belongs to the request's body, and returns the rest. Whoever
// feeds calls it.
func (x *Exchange) receive(b []byte) []byte {
	for len(b) > 0 && x.receiving {
		var data []byte
		if x.chunks == nil {
			n := min(x.left, int64(len(b)))
			data, b = b[:n], b[n:]
			x.left -= n
		} else {
			var n int
			var err error
			if data, n, err = x.chunks.next(b); err != nil {
				x.broken(err)
				return nil
			}
			b = b[n:]
		}
		x.took(data)
	}
	return b
}

// took passes a part of the body on.
func (x *Exchange) took(data []byte) {
	c := x.conn
	c.io.Lock()
	defer c.io.Unlock()
	x.got += int64(len(data))
	done := x.chunks == nil && x.left == 0 || x.chunks != nil && x.chunks.done()
	limit := c.server.options.Limits.BodySize
	switch p := x.pipe; {
	case x.answered && x.got > lingerMax && !done:
		c.lingerLocked() // there is more than is worth to be read
		return
	case p == nil || p.dropped:
	case limit > 0 && x.got > limit:
		p.failLocked(&http.MaxBytesError{Limit: limit})
		p.dropLocked()
		x.keep = false
	default:
		p.b = append(p.b, data...)
		if done {
			p.failDoneLocked()
		} else if x.holding == nil && !p.paused {
			// Nothing is read ahead: a handler may have somebody else read the rest.
			p.paused = true
			c.io.PauseLocked()
		}
		p.signal()
	}
	if done {
		x.receivedLocked()
	}
	x.holdLocked()
}

// receivedLocked ends the reading of a body that is whole.
func (x *Exchange) receivedLocked() {
	c := x.conn
	x.receiving = false
	if p := x.pipe; p != nil && p.paused {
		p.paused = false // the next request is nobody's to ask for
		c.io.ResumeLocked()
	}
	if c.bits&timed == 0 {
		c.idleLocked()
	}
	if x.answered {
		x.nextLocked()
	}
}

// readAhead is how much is read of a body for who asks for less, in bytes.
const readAhead = 16 << 10

// readLocked reads what has come of the body past the loop, which has paused: it is copied
// once, to where it is wanted. Nothing is 0.
func (x *Exchange) readLocked(b []byte) int {
	c, p := x.conn, x.pipe
	if !p.paused || p.dropped || !x.receiving || x.chunks != nil || c.bits&feeding != 0 || c.io.ReadingLocked() || c.more != nil {
		return 0
	}
	into := b
	if len(into) < readAhead/4 {
		into = make([]byte, readAhead)
	}
	n, err := c.io.ReadLocked(into[:min(int64(len(into)), x.left)])
	if n <= 0 || err != nil {
		return 0
	}
	x.left -= int64(n)
	x.got += int64(n)
	p.asked = time.Now()
	if len(into) > len(b) {
		p.b = into[:n]
		n = copy(b, p.b)
		p.b = p.b[n:]
	}
	if x.left == 0 {
		p.failDoneLocked()
		x.receivedLocked()
	}
	return n
}

func (p *pipe) failDoneLocked() {
	if p.err == nil {
		p.err = io.EOF
	}
}

// broken ends a body that is malformed: nobody knows where the next request begins.
func (x *Exchange) broken(err error) {
	c := x.conn
	c.io.Lock()
	defer c.io.Unlock()
	x.keep = false
	if x.pipe != nil {
		x.pipe.failLocked(err)
	}
	x.receiving = false
	if x.answered {
		c.lingerLocked()
	}
}

// lateLocked ends a body that makes no progress.
func (x *Exchange) lateLocked() {
	x.keep = false
	x.pipe.failLocked(os.ErrDeadlineExceeded)
}

// stream begins a request whose body has not come whole: its handler gets a goroutine.
func (x *Exchange) stream(head *Head, raw, b []byte) []byte {
	c := x.conn
	if x.left = head.Length; head.Length == Chunked {
		x.chunks = &chunks{}
	}
	x.pipe = &pipe{wake: make(chan struct{}, 1), asked: time.Now(), asks: head.Continue && len(b) == 0}
	x.head, x.raw = head, raw
	w := newResponse(x, head, raw)
	x.head, x.raw = nil, nil
	c.io.Lock()
	x.receiving = true
	c.io.BriefLocked(x.chunks == nil) // what is left is read by who wants it
	c.bits &^= timed
	o := &c.server.options
	holds := x.chunks == nil && x.left > DirectBody && x.left <= o.Hold && x.reserve()
	if holds {
		x.holding = w
	}
	c.io.Unlock()
	if !holds {
		c.io.SetDeadline(o.Limits.BodyTimeout)
		b = x.receive(b)
		go w.serve(o.Handler)
		return b
	}
	c.io.SetDeadline(o.Limits.HoldTime())
	if len(b) > 0 {
		return x.receive(b) // which holds the rest
	}
	c.io.Lock()
	if x.pipe.asks {
		x.pipe.asks = false
		if x.minor > 0 {
			_ = c.io.WriteLocked(continueLine, nil, false)
		}
	}
	x.holdLocked()
	c.io.Unlock()
	return nil
}

// bodyReader is the Body of a request.
type bodyReader struct {
	w *response
	b []byte // what has come whole
}

// Read implements io.Reader.
func (r *bodyReader) Read(p []byte) (int, error) {
	x := r.w.x
	if x.pipe != nil {
		return r.w.readPipe(p)
	}
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	switch {
	case r.w.returned:
		return 0, http.ErrBodyReadAfterClose
	case len(r.b) == 0:
		return 0, io.EOF
	}
	n := copy(p, r.b)
	r.b = r.b[n:]
	return n, nil
}

// Close implements io.Closer. What is left unread is the server's.
func (r *bodyReader) Close() error { return nil }

var continueLine = []byte("HTTP/1.1 100 Continue\r\n\r\n")

func (w *response) readPipe(b []byte) (int, error) {
	x := w.x
	p, c := x.pipe, x.conn
	for {
		c.io.Lock()
		switch {
		case len(b) == 0:
			c.io.Unlock()
			return 0, nil
		case len(p.b) > 0:
			n := copy(b, p.b)
			if p.b = p.b[n:]; len(p.b) == 0 {
				p.b = nil
			}
			c.io.Unlock()
			return n, nil
		case p.err != nil:
			err := p.err
			c.io.Unlock()
			w.bodyFailed(err)
			return 0, err
		}
		if deadline := w.readDeadline.Load(); deadline == 0 || time.Now().UnixNano() < deadline {
			if n := x.readLocked(b); n > 0 {
				c.io.Unlock()
				return n, nil
			}
		}
		if p.asks {
			p.asks = false
			if !x.started && x.minor > 0 {
				_ = c.io.WriteLocked(continueLine, nil, false)
			}
		}
		if p.paused {
			p.paused, p.asked = false, time.Now()
			c.io.ResumeLocked()
		}
		c.io.Unlock()
		if err := w.await(p.wake, w.readDeadline.Load()); err != nil {
			return 0, err
		}
	}
}

// await waits for a signal, until a deadline in nanoseconds since 1970; 0 is none.
func (w *response) await(signal <-chan struct{}, deadline int64) error {
	if deadline == 0 {
		<-signal
		return nil
	}
	t := time.NewTimer(time.Until(time.Unix(0, deadline)))
	defer t.Stop()
	select {
	case <-signal:
		return nil
	case <-t.C:
		return os.ErrDeadlineExceeded
	}
}
