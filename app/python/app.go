package python

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"sync"
	"syscall"
	"time"
)

// App is a Python application in a child process. It is an http.Handler once Start has
// returned. All methods may be called from any goroutine.
type App struct {
	name        string
	interpreter string
	opts        *Options
	failed      chan error
	swap        chan *child   // to supervise, from Reload
	ended       chan struct{} // closed when supervise has returned; nil before Start

	mu      sync.Mutex
	child   *child        // nil while there is none
	changed chan struct{} // closed when child changes
	life    context.Context
	cancel  context.CancelFunc
	closed  bool

	// habits are nil where nothing is granted.
	habits *habits

	newLink func(c *child, fd int) (link, error)
}

// Open finds the interpreter for the app name. Nothing is started yet, and an app that
// does not exist is found out by Start.
//
// name is pkg.mod:attr, pkg.mod.attr, pkg.mod:factory(), a module, or paste:FILE#section.
func Open(ctx context.Context, name string, opts *Options) (*App, error) {
	opts = opts.withDefaults()
	if name == "" {
		return nil, errors.New("python: the application has no name")
	}
	if int(opts.Mode) >= len(modeNames) {
		return nil, fmt.Errorf("python: unknown mode %v", opts.Mode)
	}
	if opts.Threads < 1 {
		return nil, fmt.Errorf("python: %d threads: want 1 or more", opts.Threads)
	}
	interpreter, err := findInterpreter(opts.Interpreter)
	if err != nil {
		return nil, err
	}
	a := &App{
		name:        name,
		interpreter: interpreter,
		opts:        opts,
		failed:      make(chan error, 1),
		swap:        make(chan *child),
		changed:     make(chan struct{}),
		newLink:     newStreamLink,
	}
	// Where an answer may be given in the app's stead, or is kept until it is whole, nobody else
	// writes before the worker knows of it.
	if !opts.Buffered && opts.RequestTimeout == 0 && opts.Mode != Tornado {
		a.habits = &habits{seed: maphash.MakeSeed()}
	}
	return a, nil
}

// Start starts the child and waits until the app is loaded, and its pre-hook was called.
// The error is a *LoadError where the app is at fault. ctx bounds the start alone.
func (a *App) Start(ctx context.Context) error {
	c, err := startChild(a.name, a.interpreter, a.opts, a.newLink)
	if err != nil {
		return err
	}
	if err := c.await(ctx, a.name); err != nil {
		return err
	}
	a.mu.Lock()
	if a.closed || a.ended != nil {
		a.mu.Unlock()
		c.kill()
		<-c.done
		return errors.New("python: Start after Start or Close")
	}
	life, cancel := context.WithCancel(context.Background())
	a.child, a.life, a.cancel, a.ended = c, life, cancel, make(chan struct{})
	a.mu.Unlock()
	go a.supervise(life, c)
	return nil
}

// String is what the app is, as Python shows it, once it is loaded; its name before.
func (a *App) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.child != nil {
		return a.child.app
	}
	return "python:" + a.name
}

// Pending is how many requests may run and wait; 0 is no bound.
func (a *App) Pending() int { return a.opts.Pending }

// Failed has one value when the app can serve no longer: its child ended unasked, and
// Options.ChildRestart is not set. The worker is expected to end as well.
func (a *App) Failed() <-chan error { return a.failed }

// Close ends the child: after what it is doing and the post-hook, or at once when ctx
// ends. Requests in flight then get ErrChild.
func (a *App) Close(ctx context.Context) error {
	a.mu.Lock()
	a.closed = true
	c, cancel, ended := a.child, a.cancel, a.ended
	a.child = nil
	a.mu.Unlock()
	if ended == nil {
		return nil
	}
	cancel()
	var err error
	if c != nil {
		err = c.stop(ctx)
	}
	<-ended
	return err
}

// reloadPatience is how long requests that the child before a reload runs may take.
const reloadPatience = 500 * time.Millisecond

// Reload starts the app anew in another child, which then takes the requests; the one
// before has half a second to end. Where the app does not load, the one before goes on,
// and the error says why.
func (a *App) Reload(ctx context.Context) error {
	a.mu.Lock()
	life := a.life
	a.mu.Unlock()
	if life == nil {
		return net.ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	c, err := startChild(a.name, a.interpreter, a.opts, a.newLink)
	if err == nil {
		err = c.await(ctx, a.name)
	}
	if err != nil {
		return err
	}
	select {
	case a.swap <- c:
		return nil
	case <-a.ended:
		c.kill()
		<-c.done
		return net.ErrClosed
	}
}

// supervise owns the child: it starts another one after one that ended unasked, and takes
// the next one from Reload.
func (a *App) supervise(ctx context.Context, c *child) {
	var leaving sync.WaitGroup
	defer func() { leaving.Wait(); close(a.ended) }()
	for {
		select {
		case <-ctx.Done():
			return
		case next := <-a.swap:
			if !a.set(next) {
				return
			}
			old := c
			leaving.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), reloadPatience)
				defer cancel()
				_ = old.stop(ctx)
			})
			c = next
			continue
		case <-c.done:
		}
		if c = a.replace(ctx, c); c == nil {
			return
		}
	}
}

// replace starts a child in the place of c, which has ended. nil: there is none, and
// none will be.
func (a *App) replace(ctx context.Context, c *child) *child {
	err := childError(c)
	if ctx.Err() != nil {
		return nil
	}
	a.opts.Logger.Error("the Python child ended", "child", c.pid, "state", c.state.String(), "restart", a.opts.ChildRestart)
	if !a.opts.ChildRestart {
		a.failed <- err
		return nil
	}
	a.set(nil)
	delay := time.Duration(0)
	for {
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		next, err := startChild(a.name, a.interpreter, a.opts, a.newLink)
		if err == nil {
			err = next.await(ctx, a.name)
		}
		switch {
		case ctx.Err() != nil:
			if err == nil {
				next.kill()
				<-next.done
			}
			return nil
		case err == nil && a.set(next):
			return next
		}
		delay = min(max(2*delay, time.Second), 30*time.Second)
		a.opts.Logger.Error("the Python child does not start", "error", err, "next", delay)
	}
}

// set makes c the child that serves. false: the app was closed, and c is gone.
func (a *App) set(c *child) bool {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		if c != nil {
			c.kill()
			<-c.done
		}
		return false
	}
	a.child = c
	close(a.changed)
	a.changed = make(chan struct{})
	a.mu.Unlock()
	return true
}

// current returns the child that serves, and waits for one that is being started.
func (a *App) current(ctx context.Context) (*child, error) {
	for {
		a.mu.Lock()
		c, changed, closed, started := a.child, a.changed, a.closed, a.ended != nil
		a.mu.Unlock()
		switch {
		case c != nil:
			return c, nil
		case closed || !started:
			return nil, net.ErrClosed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Submit sends r to the app, and what comes back to sink. It does not block. This is for
// servers that have no goroutine to spare for a request; others use ServeHTTP.
func (a *App) Submit(r *Request, sink Sink) (*Call, error) {
	a.mu.Lock()
	c := a.child
	a.mu.Unlock()
	if c == nil {
		return nil, ErrChild
	}
	return c.submit(r, sink)
}

// giveUp ends a child that is stuck in one request and can do nothing else. SIGABRT makes
// it log the stacks of its threads first.
func (c *child) giveUp() {
	if !c.stuck.CompareAndSwap(false, true) {
		return
	}
	c.log.Error("the Python child is stuck in a request: ending it")
	c.signal(syscall.SIGABRT)
	select {
	case <-c.exited:
	case <-time.After(time.Second):
		c.kill()
	}
}

func childError(c *child) error {
	return fmt.Errorf("python: child %d ended: %v", c.pid, c.state)
}
