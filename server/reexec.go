package server

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/listener"
)

// executable is the program's path when it started. What is found there later may be
// another program: a new version, which is what is wanted then.
//
// For a program made of a Go app it is the command that has made it, which finds out
// whether there is a newer one.
var executable, errExecutable = os.Executable()

// canReexec finds out beforehand whether the program could be executed anew.
func canReexec() error {
	if errExecutable != nil {
		return errExecutable
	}
	if err := unix.Access(executable, unix.X_OK); err != nil {
		return &os.PathError{Op: "execute", Path: executable, Err: err}
	}
	return nil
}

// reexec is the wish to execute the program anew at the end of a worker's life, and the
// sockets that stay open until then and beyond.
type reexec struct {
	wanted bool
	held   *listener.Held
}

// hold keeps the sockets open past the Close of ls.
func (r *reexec) hold(ls listener.Listeners) error {
	held, err := ls.Hold()
	if err != nil {
		return fmt.Errorf("keep the sockets for the program to come: %w", err)
	}
	r.wanted, r.held = true, held
	return nil
}

// abandon gives the wish up.
func (r *reexec) abandon() error {
	if !r.wanted {
		return nil
	}
	r.wanted = false
	return r.held.Close()
}

// exec replaces the process by the program, and returns only where that fails.
func (r *reexec) exec() error {
	env := os.Environ()
	if launcherFolder != "" { // the app's name is relative to it
		if err := os.Chdir(launcherFolder); err != nil {
			return errors.Join(err, r.held.Close())
		}
	}
	err := r.held.Exec(executable, os.Args, env)
	return errors.Join(fmt.Errorf("execute %s: %w", executable, err), r.held.Close())
}
