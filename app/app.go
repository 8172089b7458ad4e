package app

import (
	"context"
	"fmt"
	"net/http"
)

// App is what a worker serves. ServeHTTP is called from many goroutines at once.
//
// An App that also has a String method is named by it in the log.
type App interface {
	http.Handler
}

// Starter is an App with something to do before its first request. The worker calls
// Start once, before it listens; ctx ends when the worker is told to stop meanwhile.
// An error ends the worker with exit status 3.
type Starter interface {
	Start(ctx context.Context) error
}

// Closer is an App with something to release. The worker calls Close once after the
// last request, and only if Start succeeded. ctx ends with the worker's patience.
type Closer interface {
	Close(ctx context.Context) error
}

// Failer is an App that can come to an end by itself, as a Python app does whose process
// crashes. Failed has one value then. The worker drains, and ends with exit status 4, so
// that its process manager starts a fresh one.
type Failer interface {
	Failed() <-chan error
}

// Reloader is an App that can begin anew while the worker serves on, as a Python app can in
// another process. With --use-reloader the worker calls Reload when a source has changed,
// and ends itself only for Apps that cannot.
type Reloader interface {
	Reload(ctx context.Context) error
}

// Bounded is an App that bounds itself how many requests run and wait, as a Python app on a
// pool of threads does, where they wait at no cost: those beyond are refused. 0 is no bound.
type Bounded interface {
	Pending() int
}

// Start calls a's Start, where it has one.
func Start(ctx context.Context, a App) error {
	if s, ok := a.(Starter); ok {
		return s.Start(ctx)
	}
	return nil
}

// Close calls a's Close, where it has one.
func Close(ctx context.Context, a App) error {
	if c, ok := a.(Closer); ok {
		return c.Close(ctx)
	}
	return nil
}

// Describe names a for the log: its String, else its type.
func Describe(a App) string {
	if s, ok := a.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", a)
}

// Failed is a's, or nil, which never has a value.
func Failed(a App) <-chan error {
	if f, ok := a.(Failer); ok {
		return f.Failed()
	}
	return nil
}

// Pending is a's, or 0 where it has no bound of its own.
func Pending(a App) int {
	if b, ok := a.(Bounded); ok {
		return b.Pending()
	}
	return 0
}
