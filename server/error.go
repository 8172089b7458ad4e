package server

import (
	"errors"
	"strings"

	"github.com/chaussette/chaussette/app"
)

// The exit status of a worker (see the package's documentation).
const (
	exitDrained = 0
	exitFailed  = 1
	exitUsage   = 2
	exitOpen    = 3
	exitApp     = 4
)

// UsageError says what is wrong with the command line. The worker ends with exit status 2.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong.
func (e *UsageError) Unwrap() error { return e.Err }

// UnknownError says that there is nothing of a name. It is a usage error.
type UnknownError struct {
	What    string   // a backend, say
	Name    string   // as it was asked for
	Known   []string // what there is
	Nearest string   // of them, or empty
}

func (e *UnknownError) Error() string {
	s := "no " + e.What + " " + e.Name
	if e.Nearest != "" {
		s += ", did you mean " + e.Nearest + "?"
	}
	return s + " (there are " + strings.Join(e.Known, ", ") + ")"
}

// OpenError says that what the worker needs could not be opened: its app, its socket,
// its log. The worker ends with exit status 3.
type OpenError struct {
	What string // the app, the socket...
	Err  error
}

func (e *OpenError) Error() string { return e.What + ": " + e.Err.Error() }

// Unwrap returns why.
func (e *OpenError) Unwrap() error { return e.Err }

// EndedError says that the app came to an end by itself: a Python app's process crashed.
// The worker has drained, and ends with exit status 4.
type EndedError struct{ Err error }

func (e *EndedError) Error() string { return "the app ended: " + e.Err.Error() }

// Unwrap returns why.
func (e *EndedError) Unwrap() error { return e.Err }

// ExitStatus is the exit status that tells a process manager of err.
func ExitStatus(err error) int {
	var (
		usage   *UsageError
		unknown *UnknownError
		name    *app.NameError
		open    *OpenError
		load    *app.LoadError
		ended   *EndedError
		child   *childError
		stated  interface{ ExitStatus() int } // of a subcommand
	)
	switch {
	case err == nil:
		return exitDrained
	case errors.As(err, &usage), errors.As(err, &unknown), errors.As(err, &name):
		return exitUsage
	case errors.As(err, &open), errors.As(err, &load):
		return exitOpen
	case errors.As(err, &ended):
		return exitApp
	case errors.As(err, &child):
		return child.status()
	case errors.As(err, &stated):
		return stated.ExitStatus()
	}
	return exitFailed
}
