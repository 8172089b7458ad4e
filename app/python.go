package app

import (
	"context"
	"errors"
	"strings"

	"github.com/chaussette/chaussette/app/python"
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
	switch {
	case err != nil && n.word():
		return nil, unknown(n.Path, "it is no built-in, and no Python app can be looked for: "+err.Error())
	case err != nil:
		return nil, &LoadError{Name: n, Err: err}
	}
	return &pythonApp{a, n}, nil
}

// word reports whether the name is a single word, which may be a built-in, misspelt.
func (n Name) word() bool { return n.Kind == Python && !strings.ContainsAny(n.Path, ".:") }

func (a *pythonApp) Start(ctx context.Context) error {
	err := a.App.Start(ctx)
	var load *python.LoadError
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case errors.As(err, &load) && load.Missing:
		if a.name.word() {
			return unknown(a.name.Path, load.Reason)
		}
		return &NameError{Name: a.name.String(), Reason: load.Reason}
	}
	return &LoadError{Name: a.name, Err: err}
}
