package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/chaussette/chaussette/app"
	"github.com/chaussette/chaussette/listener"
	"github.com/chaussette/chaussette/server/buffer"
	"github.com/chaussette/chaussette/server/gate"
	"github.com/chaussette/chaussette/server/watch"
	"github.com/chaussette/chaussette/ws"
)

// Worker serves one app on the sockets of one address, from Run to its end.
type Worker struct {
	config  Config
	backend Backend
	app     app.App
	log     *slog.Logger
	tls     *tls.Config
	groups  *ws.Groups
	parent  <-chan struct{} // closed when the parent has ended; nil where that is nothing to us
	watcher *watch.Watcher  // nil without --use-reloader

	appLoops appLoops
}

// New returns a Worker for a. The error is a usage error, or an [*OpenError] for
// certificates that cannot be read.
func New(a app.App, c Config) (*Worker, error) {
	if err := c.check(); err != nil {
		return nil, &UsageError{err}
	}
	c = c.withDefaults()
	backend, err := LookupBackend(c.Backend)
	if err != nil {
		return nil, err
	}
	if c.WebTransport != "" && !backend.SocketIO {
		return nil, &UsageError{fmt.Errorf("--webtransport %s: it is for --backend socketio, not %s", c.WebTransport, backend.Name)}
	}
	if c.Admin != nil && !backend.SocketIO {
		return nil, &UsageError{fmt.Errorf("--socketio-admin: it is for --backend socketio, not %s", backend.Name)}
	}
	w := &Worker{config: c, backend: backend, app: a, log: c.Log, groups: new(ws.Groups)}
	if c.CertFile != "" {
		if w.tls, err = loadTLS(c.CertFile, c.KeyFile); err != nil {
			return nil, &OpenError{"the certificate", err}
		}
	}
	return w, nil
}

func loadTLS(certFile, keyFile string) (*tls.Config, error) {
	if keyFile == "" {
		keyFile = certFile
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}}, nil
}

// Run starts the app, serves it, and returns after the drain that a signal or the end of
// ctx began: nil, or what ended it otherwise. Run takes the process's signals while it
// runs. After SIGHUP it returns only where the program could not be executed anew.
func (w *Worker) Run(ctx context.Context) error {
	defer keepHeapFloor()()
	signals := takeSignals()
	defer signals.release()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var again reexec
	if err := w.life(ctx, signals, &again); err != nil {
		return errors.Join(err, again.abandon())
	}
	if !again.wanted {
		return nil
	}
	if signals.stopCame() { // after the drain, while the app was closed
		w.log.Info("Stopping: a signal came before the program was executed anew")
		return again.abandon()
	}
	return again.exec()
}

// life is everything between the app's start and its end. What is opened in it is
// closed in it, in reverse, whatever happens.
func (w *Worker) life(ctx context.Context, signals *signals, again *reexec) (err error) {
	// A signal to stop ends the start as well: an app may take its time to load.
	starting, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped := signals.onStop(cancel)
	defer stopped()

	if w.config.ExitWithParent {
		if w.parent, err = watchParent(ctx); err != nil {
			return &OpenError{"--exit-with-parent", err}
		}
	}
	if err := w.openAppLoops(); err != nil {
		return err
	}
	defer w.closeAppLoops()
	if err := app.Start(ws.WithGroups(starting, w.groups), w.app); err != nil {
		if stopped() {
			return nil
		}
		if ExitStatus(err) != exitFailed { // it says what it is about
			return err
		}
		return &OpenError{"the app", err}
	}
	defer func() { err = errors.Join(err, w.closeApp()) }()
	if w.config.Application == "" {
		w.config.Application = app.Describe(w.app)
	}
	w.log.Info("Application is " + w.config.Application)

	if err := w.hook(starting, "pre-hook", w.config.PreHook); err != nil {
		if stopped() {
			return nil
		}
		return &OpenError{"the pre-hook", err}
	}
	defer func() {
		// Also after SIGTERM, and where serving failed: what the pre-hook set up is there.
		if hookErr := w.hook(context.WithoutCancel(ctx), "post-hook", w.config.PostHook); hookErr != nil {
			w.log.Error("the post-hook failed", "error", hookErr)
		}
	}()

	if w.config.Reload {
		// What the hook has written is no change; what comes after the worker is up is one.
		if w.watcher, err = watch.New(executable, w.config.ReloadPaths, w.log); err != nil {
			return &OpenError{"--use-reloader", err}
		}
		defer w.watcher.Close()
	}
	listeners, err := w.listen(starting)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, listeners.Close()) }()
	if stopped() {
		return nil
	}
	return w.serve(ctx, listeners, signals, again)
}

// listen opens the sockets.
func (w *Worker) listen(ctx context.Context) (listener.Listeners, error) {
	address, err := inFamily(ctx, w.config.Address, w.config.Family)
	if err != nil {
		return nil, &OpenError{"the socket", err}
	}
	listeners, err := listener.Open(address, &listener.Options{
		Backlog:  w.config.Backlog,
		UnixMode: w.config.UnixMode,
		Logger:   w.log,
	})
	if err != nil {
		return nil, &OpenError{"the socket", err}
	}
	w.checkFamily(listeners)
	return listeners, nil
}

func (w *Worker) closeApp() error {
	ctx, cancel := context.WithTimeout(context.Background(), w.config.GracefulTimeout)
	defer cancel()
	if err := app.Close(ctx, w.app); err != nil {
		return fmt.Errorf("the app did not close: %w", err)
	}
	return nil
}

// handler is the app behind what the backend puts before it.
func (w *Worker) handler() http.Handler {
	h := http.Handler(w.app)
	if w.config.Spawn > 0 && app.Pending(w.app) == 0 {
		h = gate.New(w.config.Spawn, w.config.SpawnQueue).Handler(h, func(r *http.Request) {
			w.log.Warn("a request is refused with 503: the queue is full", "method", r.Method, "path", r.URL.Path,
				"spawn", w.config.Spawn, "spawn-queue", w.config.SpawnQueue)
		})
	}
	if w.backend.Buffered {
		h = buffer.Handler(h, w.config.Limits.WithDefaults().Buffered, w.log)
	}
	return h
}

// serve serves until something ends it, and drains.
func (w *Worker) serve(ctx context.Context, listeners listener.Listeners, signals *signals, again *reexec) error {
	handler := w.handler()
	kin := w.newKin(listeners)
	defer kin.close()
	sockets, err := w.newSockets(kin)
	if err != nil {
		return err
	}
	if sockets != nil {
		handler = sockets.wrap(handler)
		kin.carry(sockets)
		defer func() { _ = sockets.close() }()
		trimming, end := context.WithCancel(context.Background())
		var ended sync.WaitGroup
		ended.Go(func() { trim(trimming, sockets.engine.Len) })
		defer ended.Wait()
		defer end()
	}
	streams, err := w.listenWebTransport(sockets, listeners)
	if err != nil {
		return err
	}
	if streams != nil {
		defer func() { _ = streams.Close() }()
	}
	engine, err := w.newEngine(handler, sockets, kin)
	if err != nil {
		return err
	}
	failed := make(chan error, len(listeners)+2)
	var accepting sync.WaitGroup
	if kin != nil {
		if take := engine.takeMoved(kin.exchange); take != nil {
			accepting.Go(func() { failed <- take() })
		}
		kin.start()
	}
	if sockets != nil {
		w.meet(ctx, sockets.broker)
	}
	w.log.Info("Serving on " + listeners.String())
	for _, l := range listeners {
		accepting.Go(func() { failed <- engine.Serve(l) })
	}
	if streams != nil {
		w.log.Info("WebTransport on udp://" + streams.Addr().String())
		accepting.Go(func() { failed <- streams.Serve() })
	}
	w.sayEngine()
	w.log.Info("Using " + w.backend.String() + " as a backend")
	if w.config.Spawn > 0 {
		w.log.Info(fmt.Sprintf("Spawning method: %d", w.config.Spawn))
	}
	stopTaking := func() {
		kin.stopTaking()
		if streams != nil {
			_ = streams.Close()
		}
		accepting.Wait()
	}
	defer func() {
		_ = engine.Close()
		_ = listeners.Close()
		stopTaking()
	}()
	notify := notifier{w.log}
	notify.ready()

	reason, err := w.wait(ctx, signals, failed)
	if ended := (*EndedError)(nil); errors.As(err, &ended) {
		// The requests that were in flight still get their 502.
		return errors.Join(err, w.drain(engine, kin, sockets, listeners.Close, stopTaking, signals, again))
	}
	if err != nil {
		return err
	}
	switch reason {
	case stop:
		notify.stopping()
	case reload, restart:
		notify.reloading()
		if err := again.hold(listeners); err != nil {
			return err
		}
	}
	if reason == restart {
		return nil
	}
	return w.drain(engine, kin, sockets, listeners.Close, stopTaking, signals, again)
}

// closeTimeout bounds how long handlers may take with the end of their WebSockets.
const closeTimeout = 2 * time.Second

// How long a draining worker leaves idle connections open, so that a request that is on
// its way finds the worker there. Its answer closes the connection. While a reload waits
// the second time, for what was accepted last, new connections wait as well.
const (
	drainIdle  = 2 * time.Second
	reloadIdle = 200 * time.Millisecond
)

// drain ends the engine. While a reload waits for idle connections the worker goes on to
// accept: it may be the only one, and what is accepted now is answered now. A signal to
// stop turns a reload into a stop; the one after ends the drain at once.
func (w *Worker) drain(engine engine, kin *kin, sockets *sockets, stopAccepting func() error, stopTaking func(), signals *signals, again *reexec) error {
	ctx, cancel := context.WithTimeout(context.Background(), w.config.GracefulTimeout)
	defer cancel()
	reloading, stops := again.wanted, 0
	second := 1
	if reloading {
		second = 2
	}
	ended := signals.onStop(func() {
		if stops++; stops == second {
			cancel()
		}
	})
	defer ended()
	idle := min(drainIdle, w.config.GracefulTimeout/2)

	start := time.Now()
	w.log.Info("Draining", "connections", engine.Connections(), "graceful-timeout", w.config.GracefulTimeout)
	kin.leave(ctx)
	engine.StartDraining()
	engine.handOver(kin)
	var waiting sync.WaitGroup
	if sockets != nil {
		waiting.Go(func() {
			if err := sockets.drain(ctx); err != nil {
				w.log.Warn("WebSockets are cut: their clients took longer than the graceful timeout")
			}
		})
	}
	if reloading {
		patience, cancel := context.WithTimeout(ctx, idle)
		_ = engine.WaitIdle(patience)
		cancel()
		idle = min(idle, reloadIdle)
	}
	closed := stopAccepting()
	if sockets != nil {
		// Until then siblings give it the polls of its sessions.
		sockets.awaitSessions(ctx)
	}
	stopTaking()
	err := engine.Drain(ctx, idle)
	waiting.Wait()
	if ended(); stops >= second {
		return errSecondSignal
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // the log has it; the worker has done what it was told
	}
	w.log.Info("Drained", "duration", time.Since(start).Round(time.Millisecond))
	if stops > 0 {
		err = errors.Join(err, again.abandon())
	}
	return errors.Join(err, closed)
}

var errSecondSignal = errors.New("ended by a second signal before the drain was over")

// reason is why a worker stops serving.
type reason int

const (
	stop    reason = iota // after a drain
	reload                // after a drain, to begin anew
	restart               // at once, to begin anew: the reloader waits for nobody
)

// wait returns when there is a reason to stop serving, or serving failed.
func (w *Worker) wait(ctx context.Context, signals *signals, failed <-chan error) (reason, error) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()

	renewing, renewed := false, make(chan error, 1)
	changed := make(chan string, 1)
	if w.watcher != nil {
		watching.Go(func() {
			for {
				path, err := w.watcher.Changed(ctx)
				if err != nil {
					return
				}
				if a, ok := w.app.(app.Reloader); ok && watch.IsSource(path) {
					w.reloadApp(ctx, a, path)
					continue
				}
				changed <- path
				return
			}
		})
	}
	for {
		select {
		case s := <-signals.received:
			switch s {
			case syscall.SIGHUP:
				if err := canReexec(); err != nil {
					w.log.Error("SIGHUP: the program cannot be executed anew, and serves on", "error", err)
					continue
				}
				if w.config.Renew == nil {
					w.log.Info("SIGHUP: executing anew")
					return reload, nil
				}
				if !renewing {
					renewing = true
					watching.Go(func() { renewed <- w.config.Renew(ctx) })
				}
			case syscall.SIGUSR1:
				w.reopenLogs()
			default:
				w.log.Info("Stopping", "signal", s)
				return stop, nil
			}
		case err := <-renewed:
			renewing = false
			if err == nil {
				w.log.Info("SIGHUP: executing anew")
				return reload, nil
			}
			w.log.Error("SIGHUP: the program cannot be made anew, and serves on", "error", err)
		case path := <-changed:
			w.log.Info("Restarting: a file has changed", "file", path)
			return restart, nil
		case <-w.parent:
			w.log.Info("Stopping: the parent process has ended")
			return stop, nil
		case <-ctx.Done():
			return stop, nil
		case err := <-app.Failed(w.app):
			return stop, &EndedError{err}
		case err := <-failed:
			return stop, fmt.Errorf("accept: %w", err)
		}
	}
}

// reloadApp begins the app anew, and nothing else: connections stay.
func (w *Worker) reloadApp(ctx context.Context, a app.Reloader, path string) {
	w.log.Info("Reloading the app: a file has changed", "file", path)
	begin := time.Now()
	if err := a.Reload(ctx); err != nil {
		if ctx.Err() == nil {
			w.log.Error("the app does not load, and serves on as it was", "error", err)
		}
		return
	}
	w.log.Info("Reloaded", "duration", time.Since(begin).Round(time.Millisecond))
}

func (w *Worker) reopenLogs() {
	if w.config.ReopenLogs == nil {
		return
	}
	if err := w.config.ReopenLogs(); err != nil {
		w.log.Error("SIGUSR1: a log file cannot be opened again, the old one is kept", "error", err)
		return
	}
	w.log.Info("SIGUSR1: log files opened again")
}
