package http1

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// requestContext is a request's. It ends when the client goes, or the handler returns, and
// costs nothing where nobody waits for that.
type requestContext struct {
	base context.Context
	conn *conn

	mu    sync.Mutex
	done  chan struct{}
	err   error
	after map[*func()]struct{}
	stop  func() bool // following base
}

// Deadline implements context.Context.
func (c *requestContext) Deadline() (time.Time, bool) { return c.base.Deadline() }

// Done implements context.Context.
func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		} else {
			c.followLocked()
		}
	}
	return c.done
}

// followLocked has c end when its base does.
func (c *requestContext) followLocked() {
	if c.stop == nil && c.base.Done() != nil {
		c.stop = context.AfterFunc(c.base, func() { c.cancel(c.base.Err()) })
	}
}

// Err implements context.Context.
func (c *requestContext) Err() error {
	if err := c.base.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Value implements context.Context.
func (c *requestContext) Value(key any) any {
	if key == http.LocalAddrContextKey {
		return c.conn.localAddr()
	}
	return c.base.Value(key)
}

// AfterFunc has package context follow c without a goroutine.
func (c *requestContext) AfterFunc(f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	c.followLocked()
	if c.after == nil {
		c.after = map[*func()]struct{}{}
	}
	key := &f
	c.after[key] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, there := c.after[key]
		delete(c.after, key)
		return there
	}
}

// cancel ends c. Only the first call counts.
func (c *requestContext) cancel(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	if c.done != nil {
		close(c.done)
	}
	after, stop := c.after, c.stop
	c.after, c.stop = nil, nil
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
	for f := range after {
		go (*f)()
	}
}
