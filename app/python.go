package app

import (
	"context"
	"errors"
	"strings"

	"github.com/chaussette/chaussette/app/builtin"
	"github.com/chaussette/chaussette/app/python"
	"github.com/chaussette/chaussette/internal/nearest"
)

// pythonApp tells, when it starts, an app that is not there from one that does not load.
type pythonApp struct {
	*python.App
	name Name
}

func openPython(ctx context.Context, n Name, o *Options) (App, error) {
	if o == nil {
		o = &Options{}
	}
	path := n.Path
	if n.Kind == Paste {
		path = "paste:" + path
	}
	options := o.Python
	options.Arguments = o.Arguments
	a, err := python.Open(ctx, path, &options)
	if err != nil {
		return nil, &LoadError{Name: n, Err: err}
	}
	return &pythonApp{a, n}, nil
}

func (a *pythonApp) Start(ctx context.Context) error {
	err := a.App.Start(ctx)
	var load *python.LoadError
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case errors.As(err, &load) && load.Missing:
		e := &NameError{Name: a.name.String(), Reason: load.Reason}
		if a.name.Kind == Python && !strings.ContainsAny(a.name.Path, ".:") {
			// A single word may be a built-in, misspelt.
			e.Nearest, e.Known = nearest.To(a.name.Path, builtin.Names()), builtin.Names()
		}
		return e
	}
	return &LoadError{Name: a.name, Err: err}
}
