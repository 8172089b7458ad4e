package std_test

import (
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/chaussette/chaussette/listener"
	"github.com/chaussette/chaussette/server/enginetest"
	"github.com/chaussette/chaussette/server/std"
)

// patience bounds what a test waits for that must happen.
const patience = 10 * time.Second

// onListener is an Engine as the suite wants it.
type onListener struct{ *std.Engine }

func (e onListener) Serve(l *listener.Listener) error { return e.Engine.Serve(l) }

func TestEngine(t *testing.T) {
	enginetest.Run(t, func(_ *testing.T, app http.Handler, o enginetest.Options) enginetest.Engine {
		return onListener{std.New(app, &std.Options{Limits: o.Limits, Hold: o.Hold, HoldTotal: o.HoldTotal, AccessLog: o.AccessLog, Log: o.Log})}
	}, nil)
}

// served is an engine that serves a handler on loopback.
type served struct {
	*std.Engine
	addr string
	stop func() // accepting
}

// serve starts an engine, and ends it with the test.
func serve(t *testing.T, app http.HandlerFunc, o std.Options) *served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.Log = slog.New(slog.DiscardHandler)
	e := std.New(app, &o)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := e.Serve(l); err != nil {
			t.Errorf("Serve = %v", err)
		}
	}()
	t.Cleanup(func() {
		_ = e.Close()
		<-ended
	})
	return &served{Engine: e, addr: l.Addr().String(), stop: func() { _ = l.Close(); <-ended }}
}
