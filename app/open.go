package app

import (
	"context"

	"github.com/chaussette/chaussette/app/builtin"
	"github.com/chaussette/chaussette/app/python"
	"github.com/chaussette/chaussette/internal/nearest"
)

// Options say how an App is opened. The zero value, and nil, open it with defaults.
type Options struct {
	// Arguments are the words after the application's name on the command line.
	Arguments []string
	// Python is for Python apps alone.
	Python python.Options
}

// Open opens the application that name names. The App is not started yet: see [Starter].
//
// The error is a [*NameError] where there is no such application, and a [*LoadError]
// where there is one that cannot be loaded.
func Open(ctx context.Context, name string, o *Options) (App, error) {
	n, err := Parse(name)
	if err != nil {
		return nil, err
	}
	switch n.Kind {
	case Builtin:
		open, ok := builtin.Lookup(n.Path)
		if !ok {
			return nil, unknown(name, "there is no such built-in")
		}
		return open(), nil
	case Python, Paste:
		return openPython(ctx, n, o)
	default:
		return nil, unknown(name, "a Go app is made into a program of its own, by the chaussette command, and is not opened by this one "+
			"(it can call server.Main)")
	}
}

func unknown(name, reason string) error {
	return &NameError{Name: name, Reason: reason, Nearest: nearest.To(name, builtin.Names()), Known: builtin.Names()}
}
