package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/app"
)

// launcherVariable tells a program made of a Go app which chaussette has executed it, to
// execute that in turn on SIGHUP. The program takes it out of its environment.
const launcherVariable = "CHAUSSETTE_LAUNCHER"

// launch makes the program of a Go app and executes it in the place of this process: the
// same pid, descriptors and arguments. It returns only where that fails, or when a signal
// to stop came before. With --use-reloader it supervises instead.
func launch(ctx context.Context, c Config, n app.Name, build Builder) error {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, release := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer release()
	// What these ask for will be done: the program is up to date, and the log just opened.
	others := make(chan os.Signal, 1)
	signal.Notify(others, syscall.SIGHUP, syscall.SIGUSR1)
	defer signal.Stop(others)

	if _, ok := os.LookupEnv(supervisedVariable); c.Reload && !ok {
		return supervise(ctx, c, n, build)
	}
	// The compiler's processes must not hold the socket open.
	restore := keepFromChildren()
	program, err := build(ctx, n.Path, c.Log)
	restore()
	if ctx.Err() != nil {
		c.Log.Info("Stopping: a signal came before the app was built")
		return nil
	}
	if err != nil {
		return &app.LoadError{Name: n, Err: err}
	}
	env := append(withoutLauncher(os.Environ()), launcherVariable+"="+executable)
	err = syscall.Exec(program.Path, os.Args, env)
	return &OpenError{"the app", &os.PathError{Op: "execute", Path: program.Path, Err: err}}
}

func withoutLauncher(env []string) []string {
	return slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, launcherVariable+"=") })
}

// keepFromChildren marks the descriptors that this process has inherited as not to be
// inherited in turn, until restore is called.
func keepFromChildren() (restore func()) {
	var marked []int
	for _, fd := range openDescriptors() {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if fd <= 2 || err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue // the standard streams of a child are given to it in any case
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, flags|unix.FD_CLOEXEC); err == nil {
			marked = append(marked, fd)
		}
	}
	return func() {
		for _, fd := range marked {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if err == nil {
				_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, flags&^unix.FD_CLOEXEC)
			}
		}
	}
}

func openDescriptors() []int {
	var fds []int
	entries, err := os.ReadDir("/dev/fd")
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil {
			fds = append(fds, fd)
		}
	}
	if err != nil { // no /dev, no /proc: what a manager passes has a small number
		for fd := 3; fd < 256; fd++ {
			fds = append(fds, fd)
		}
	}
	return fds
}

// launched is the other side: what a program made of a Go app knows of its launcher.
type launched struct {
	launcher   string // empty: it was executed by hand
	supervised bool
}

// launcherFolder is where the launcher was called, or empty.
var launcherFolder string

// Built is the main of the program that the chaussette command makes of a Go app and
// executes in its own place. It takes that command's arguments, the app's name among them.
func Built(name string, m app.Maker) {
	f := newFlags()
	f.config.Application = name
	f.launched = &launched{launcher: os.Getenv(launcherVariable)}
	_, f.launched.supervised = os.LookupEnv(supervisedVariable)
	for _, variable := range []string{launcherVariable, supervisedVariable} {
		_ = os.Unsetenv(variable)
	}
	if l := f.launched.launcher; l != "" {
		executable, errExecutable = l, nil
		launcherFolder, _ = os.Getwd()
	}
	os.Exit(execute(command(f, opener(name, m), nil, true)))
}

func opener(name string, m app.Maker) Opener {
	return func(context.Context, string, *app.Options) (app.App, error) {
		a, err := m()
		if err != nil {
			return nil, &app.LoadError{Name: app.Name{Kind: app.Go, Path: name}, Err: err}
		}
		return a, nil
	}
}

// configure sets in c what is different for such a program.
func (l *launched) configure(c *Config, name string) {
	if l.supervised {
		// The supervisor looks after the sources, and must not be outlived.
		c.Reload, c.ExitWithParent = false, true
		return
	}
	if l.launcher != "" {
		c.Renew = func(ctx context.Context) error { return l.renew(ctx, name, c.Log) }
	}
}

// renew has the launcher make the program of the app as it is now.
func (l *launched) renew(ctx context.Context, name string, log *slog.Logger) error {
	cmd := exec.CommandContext(ctx, l.launcher, "build", "--cache", name)
	cmd.Dir = launcherFolder
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	log.Info("SIGHUP: building " + name + " by " + filepath.Base(l.launcher))
	if err := cmd.Run(); err != nil {
		if text := bytes.TrimSpace(stderr.Bytes()); len(text) > 0 {
			return errors.New(string(text))
		}
		return fmt.Errorf("%s build: %w", l.launcher, err)
	}
	return nil
}
