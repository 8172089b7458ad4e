//go:build linux

package http1_test

import (
	"net/http"
	"testing"

	"github.com/chaussette/chaussette/listener"
	"github.com/chaussette/chaussette/loop/http1"
	"github.com/chaussette/chaussette/server/enginetest"
)

// onListener is a Server as the suite wants it.
type onListener struct{ *http1.Server }

func (s onListener) Serve(l *listener.Listener) error { return s.Server.Serve(l) }

func open(t *testing.T, app http.Handler, o enginetest.Options) enginetest.Engine {
	s, err := http1.New(&http1.Options{Handler: app, Limits: o.Limits, AccessLog: o.AccessLog, Log: o.Log})
	if err != nil {
		t.Fatal(err)
	}
	return onListener{s}
}

func TestEngine(t *testing.T) { enginetest.Run(t, open, differs) }

// differs is where this engine is stricter than net/http.
var differs = map[string]int{
	"content length and transfer encoding": 400,
	"two content lengths that agree":       400,
	"bare LF":                              400,
	"transfer encoding twice":              400,
	"transfer encoding in HTTP/1.0":        400,
}
