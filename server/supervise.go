package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/chaussette/chaussette/app"
	"github.com/chaussette/chaussette/listener"
	"github.com/chaussette/chaussette/server/watch"
)

// supervisedVariable tells a program that a supervisor has started it.
const supervisedVariable = "CHAUSSETTE_SUPERVISED"

// supervisor is what the chaussette command becomes for a Go app with --use-reloader: it
// holds the sockets, and has a child serve them, which is the app's program. When a source
// changes it makes the program anew; where that succeeds and the new child says that it is
// ready, the old one drains. Otherwise the old one serves on.
//
// One goroutine, that of run, has the children; others only send to it.
type supervisor struct {
	config Config
	name   app.Name
	build  Builder
	log    *slog.Logger
	held   *listener.Held

	current, next *offspring // next is not ready yet; either may be nil
	draining      map[*offspring]bool
	ended         chan *offspring
	ready         chan *offspring
	waits         sync.WaitGroup
}

// supervise returns after a signal to stop, when all children have ended, or with the
// error that ended the first child.
func supervise(ctx context.Context, c Config, n app.Name, build Builder) error {
	c = c.withDefaults()
	restore := keepFromChildren()
	program, err := build(ctx, n.Path, c.Log)
	restore()
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return &app.LoadError{Name: n, Err: err}
	}
	w := &Worker{config: c, log: c.Log}
	listeners, err := w.listen(ctx)
	if err != nil {
		return err
	}
	held, err := listeners.Hold()
	if err != nil {
		return errors.Join(err, listeners.Close())
	}
	// The listeners stay open too: they are never asked to accept, and own the files of
	// Unix sockets once Held is closed.
	defer func() { _ = listeners.Close() }()
	defer func() { _ = held.Close() }()
	s := &supervisor{config: c, name: n, build: build, log: c.Log, held: held,
		draining: map[*offspring]bool{}, ended: make(chan *offspring), ready: make(chan *offspring)}
	return s.run(ctx, program)
}

// offspring is a process of the app's program.
type offspring struct {
	cmd    *exec.Cmd
	notify *net.UnixConn // what it says of its state, as to systemd
	folder string        // of notify's file
	err    error         // how it ended
}

func (s *supervisor) run(ctx context.Context, program *app.Program) error {
	watcher, err := s.watch(program)
	if err != nil {
		return &OpenError{"--use-reloader", err}
	}
	defer watcher.Close()
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	changed, built := make(chan string), make(chan result)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer stop()
	tasks.Go(func() {
		for {
			path, err := watcher.Changed(watching)
			if err != nil {
				return
			}
			select {
			case changed <- path:
			case <-watching.Done():
				return
			}
		}
	})
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	toAll := make(chan os.Signal, 4)
	signal.Notify(toAll, syscall.SIGUSR1)
	defer signal.Stop(toAll)

	if s.next, err = s.start(program); err != nil {
		return &OpenError{"the app", err}
	}
	defer s.waits.Wait()
	notify := notifier{s.log}
	building, pending := false, false
	rebuild := func() {
		if building {
			pending = true
			return
		}
		building = true
		tasks.Go(func() {
			p, err := s.build(watching, s.name.Path, s.log)
			select {
			case built <- result{p, err}:
			case <-watching.Done():
			}
		})
	}
	for {
		select {
		case <-ctx.Done():
			s.log.Info("Stopping")
			notify.stopping()
			stop()
			return s.stop(toAll)
		case path := <-changed:
			s.log.Info("A file has changed: building anew", "file", path)
			rebuild()
		case <-again:
			s.log.Info("SIGHUP: building anew")
			rebuild()
		case sig := <-toAll:
			s.signal(sig)
		case r := <-built:
			building = false
			if pending {
				pending = false
				rebuild()
			} else if err := s.replace(r, watcher); err != nil {
				s.log.Error("The app as it is now cannot be served: the one before serves on", "error", err)
			}
		case c := <-s.ready:
			if c != s.next {
				continue
			}
			if s.current == nil {
				notify.ready()
			} else {
				s.drain(s.current)
			}
			s.current, s.next = c, nil
		case c := <-s.ended:
			if err := s.childEnded(c); err != nil {
				stop()
				return errors.Join(err, s.stop(toAll))
			}
		}
	}
}

// result is what a build has come to.
type result struct {
	program *app.Program
	err     error
}

func (s *supervisor) watch(p *app.Program) (*watch.Watcher, error) {
	paths := s.config.ReloadPaths
	if len(paths) == 0 {
		if wd, err := os.Getwd(); err == nil && wd != "/" {
			paths = []string{wd}
		}
	}
	return watch.New(executable, append(paths[:len(paths):len(paths)], p.Folders...), s.log)
}

// replace starts the program that was built, to take the place of the one that serves.
func (s *supervisor) replace(r result, watcher *watch.Watcher) error {
	if r.err != nil {
		return r.err
	}
	for _, folder := range r.program.Folders {
		if err := watcher.Add(folder); err != nil {
			s.log.Warn("the reloader cannot watch a folder", "folder", folder, "error", err)
		}
	}
	c, err := s.start(r.program)
	if err != nil {
		return err
	}
	if s.next != nil { // it was not ready yet, and is old already
		s.drain(s.next)
	}
	s.next = c
	return nil
}

// start starts a child on the sockets.
func (s *supervisor) start(p *app.Program) (*offspring, error) {
	folder, err := os.MkdirTemp("", "chaussette-")
	if err != nil {
		return nil, err
	}
	c := &offspring{folder: folder, cmd: &exec.Cmd{Path: p.Path, Args: os.Args, Stdout: os.Stdout, Stderr: os.Stderr}}
	address := &net.UnixAddr{Name: filepath.Join(folder, "notify"), Net: "unixgram"}
	if c.notify, err = net.ListenUnixgram("unixgram", address); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	c.cmd.Env = append(withoutLauncher(os.Environ()), supervisedVariable+"=1", "NOTIFY_SOCKET="+address.Name)
	// ^C is for this process: it tells the children, once.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = s.held.Pass(c.cmd)
	if err == nil {
		err = c.cmd.Start()
	}
	for _, f := range c.cmd.ExtraFiles {
		_ = f.Close()
	}
	if err != nil {
		return nil, errors.Join(err, c.notify.Close(), os.RemoveAll(folder))
	}
	s.log.Info("Started", "child", c.cmd.Process.Pid)
	s.waits.Go(func() { s.listenTo(c) })
	return c, nil
}

// listenTo reports when the child is ready and when it has ended.
func (s *supervisor) listenTo(c *offspring) {
	var listening sync.WaitGroup
	gone := make(chan struct{})
	listening.Go(func() {
		buffer := make([]byte, 1024)
		for {
			n, err := c.notify.Read(buffer)
			if err != nil {
				return
			}
			if strings.Contains(string(buffer[:n]), daemon.SdNotifyReady) {
				select {
				case s.ready <- c:
				case <-gone:
				}
			}
		}
	})
	c.err = c.cmd.Wait()
	close(gone)
	_ = c.notify.Close()
	_ = os.RemoveAll(c.folder)
	listening.Wait()
	s.ended <- c
}

// drain tells a child to stop; it is waited for elsewhere.
func (s *supervisor) drain(c *offspring) {
	s.draining[c] = true
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
}

// childEnded takes note of it. The end of the child that serves is that of the supervisor.
func (s *supervisor) childEnded(c *offspring) error {
	switch {
	case s.draining[c]:
		delete(s.draining, c)
	case c == s.next && s.current != nil:
		s.next = nil
		s.log.Error("The app as it is now does not start: the one before serves on", "error", c.err)
	default:
		if c == s.current {
			s.current = nil
		} else {
			s.next = nil
		}
		return &childError{c.cmd.Process.Pid, c.err}
	}
	return nil
}

// childError is the end of a child that was to serve.
type childError struct {
	pid int
	err error
}

func (e *childError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("the child %d has ended", e.pid)
	}
	return fmt.Sprintf("the child %d has ended: %v", e.pid, e.err)
}

// status is the exit status of the child, which becomes the supervisor's.
func (e *childError) status() int {
	var exit *exec.ExitError
	if errors.As(e.err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	return exitFailed
}

// signal passes a signal on to every child.
func (s *supervisor) signal(sig os.Signal) {
	for _, c := range s.children() {
		_ = c.cmd.Process.Signal(sig)
	}
}

func (s *supervisor) children() []*offspring {
	var all []*offspring
	for _, c := range []*offspring{s.current, s.next} {
		if c != nil {
			all = append(all, c)
		}
	}
	for c := range s.draining {
		all = append(all, c)
	}
	return all
}

// stop drains all children and waits for them. A second signal to stop is passed on.
func (s *supervisor) stop(toAll chan os.Signal) error {
	signal.Notify(toAll, syscall.SIGTERM, syscall.SIGINT)
	for _, c := range []*offspring{s.current, s.next} {
		if c != nil {
			s.drain(c)
		}
	}
	s.current, s.next = nil, nil
	failed := error(nil)
	for len(s.draining) > 0 {
		select {
		case sig := <-toAll:
			s.signal(sig)
		case <-s.ready:
		case c := <-s.ended:
			delete(s.draining, c)
			if c.err != nil {
				failed = &childError{c.cmd.Process.Pid, c.err}
			}
		}
	}
	return failed
}
