package std

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// rest is a connection's part in being handed over: while it waits for a request, of which
// nothing has been read, it may be taken out of net/http's hands, which finds it at its
// end then. Only the goroutine that reads it does that, so no byte can come between.
type rest struct {
	state atomic.Int32

	mu       sync.Mutex // held over the setting of a deadline
	deadline time.Time  // for reading, as net/http has set it

	deadlines atomic.Int32 // how many it has set since the last answer
}

const (
	awake    int32 = iota
	resting        // a Read waits for the first byte of a request
	startled       // and was interrupted, to be handed over
)

// HandOver has give take each connection of HTTP/1 without TLS at the moment when it
// waits for a request: at once, and from now on as it comes there. So its answers do not
// end it, as those of an engine that drains do otherwise. give is called from several
// goroutines, and gets a connection of which nothing is read. Where it is true the
// connection goes on elsewhere, by a descriptor of its own, and this process's part is
// closed; otherwise it stays. HandOver(nil) ends this.
func (e *Engine) HandOver(give func(net.Conn) bool) {
	if give == nil {
		e.giving.Store(nil)
		return
	}
	e.giving.Store(&give)
	for _, c := range e.conns.all() {
		c.startle()
	}
}

// handsOver tells whether the connection of r is given away after r.
func (e *Engine) handsOver(r *http.Request) bool {
	return e.giving.Load() != nil && r.TLS == nil && r.ProtoMajor == 1
}

// handedOver gives c away, if that is what is to be done.
func (c *conn) handedOver() bool {
	if c.moved.Load() {
		return true // net/http may ask again after the end
	}
	give := c.engine.giving.Load()
	if give == nil {
		return false
	}
	c.moved.Store(true) // from the moment on when somebody else may read
	gone := (*give)(c.Conn)
	c.moved.Store(gone)
	return gone
}

// startle interrupts a Read at rest.
func (c *conn) startle() {
	c.rest.mu.Lock()
	defer c.rest.mu.Unlock()
	if c.rest.state.CompareAndSwap(resting, startled) {
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// bufferSize is that of net/http's buffer for reading: it is empty where net/http asks for
// so much.
var bufferSize = bufio.NewReader(nil).Size()

// atRest tells that nothing of a request has been read when net/http asks for p.
func (c *conn) atRest(p []byte) bool {
	if c.engine.tls || c.http2.Load() {
		return false
	}
	switch http.ConnState(c.state.Load()) {
	case http.StateNew:
		return !c.read
	case http.StateIdle:
		// net/http sets one deadline for the wait, and the next one when a request has begun. Its
		// buffer may be empty then as well: it had the first lines together with the request before.
		return len(p) == bufferSize && !c.unanswered.Load() && c.rest.deadlines.Load() == 1
	}
	return false
}

// readAtRest is Read of a connection at rest.
func (c *conn) readAtRest(p []byte) (int, error) {
	if c.handedOver() {
		return 0, io.EOF
	}
	if c.kept {
		// It was kept alive by another worker, and has as much time as here.
		_ = c.SetReadDeadline(c.engine.until(c.engine.limits.IdleTimeout))
	}
	c.rest.state.Store(resting)
	if c.engine.giving.Load() != nil {
		c.startle() // who has begun to hand over did not see c at rest
	}
	n, err := c.Conn.Read(p)
	if !c.rest.state.CompareAndSwap(resting, awake) {
		c.rest.mu.Lock()
		c.rest.state.Store(awake)
		_ = c.Conn.SetReadDeadline(c.rest.deadline)
		c.rest.mu.Unlock()
		if n == 0 && os.IsTimeout(err) {
			if c.handedOver() {
				return 0, io.EOF
			}
			n, err = c.Conn.Read(p)
		}
	}
	if c.kept && n > 0 {
		c.kept = false
		_ = c.SetReadDeadline(c.engine.until(c.engine.limits.HeaderTimeout))
	}
	return n, err
}

// until is the end of a time that begins now; 0 has none.
func (e *Engine) until(d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

// SetReadDeadline remembers what it sets.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.rest.mu.Lock()
	defer c.rest.mu.Unlock()
	c.rest.deadline = t
	c.rest.deadlines.Add(1)
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline remembers what it sets.
func (c *conn) SetDeadline(t time.Time) error {
	c.rest.mu.Lock()
	defer c.rest.mu.Unlock()
	c.rest.deadline = t
	c.rest.deadlines.Add(1)
	return c.Conn.SetDeadline(t)
}
