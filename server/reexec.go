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
	err := r.held.Exec(executable, os.Args, os.Environ())
	return errors.Join(fmt.Errorf("execute %s: %w", executable, err), r.held.Close())
}
