package std

import (
	"context"
	"errors"
	"time"
)

// look is how often a drain looks after connections that have become quiet.
const look = 20 * time.Millisecond

// StartDraining has each connection end with its next response (Connection: close; in
// HTTP/2 GOAWAY). Connections are still accepted where the listeners are open.
func (e *Engine) StartDraining() { e.draining.Store(true) }

// WaitIdle waits until no connection is open, or ctx ends.
func (e *Engine) WaitIdle(ctx context.Context) error {
	for e.conns.len() > 0 {
		select {
		case <-e.conns.emptied:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Drain ends the engine without breaking a request. The listeners are closed and every
// Serve has returned by now: a connection that Serve has in hand is in nobody's list yet.
// Drain waits for running requests, and for one request more on each connection that is
// kept alive or new: a client may be sending it just now. A connection on which nothing
// has come for the time of quiet is closed. Where ctx ends first, Drain closes what is
// left, and returns ctx.Err().
//
// http.Server.Shutdown does less: it closes idle connections at once, and drops a
// request that it has just read. It is called when only HTTP/2 is left, which it ends
// in order.
//
// Hijacked connections are closed by who hijacked them; Close ends what they leave.
func (e *Engine) Drain(ctx context.Context, quiet time.Duration) error {
	e.StartDraining()
	err := e.drainHTTP1(ctx, quiet)
	if err == nil {
		err = e.server.Shutdown(ctx)
	}
	if err != nil {
		e.log.Warn("connections are cut: their requests took longer than the graceful timeout", "connections", e.conns.len())
		err = errors.Join(err, e.Close())
	}
	return err
}

// drainHTTP1 returns when no connection of HTTP/1 is left, or ctx ends.
func (e *Engine) drainHTTP1(ctx context.Context, quiet time.Duration) error {
	waiting := map[*conn]time.Time{} // for a request, and since when
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		left, now := 0, time.Now()
		for _, c := range e.conns.all() {
			if c.http2.Load() || c.hijacked() {
				continue
			}
			left++
			if !c.waiting() {
				delete(waiting, c)
				continue
			}
			if since, ok := waiting[c]; !ok {
				waiting[c] = now
			} else if now.Sub(since) >= quiet {
				_ = c.Close()
			}
		}
		if left == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-e.conns.emptied:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
