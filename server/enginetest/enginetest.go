// Package enginetest is the suite that every HTTP engine passes.
package enginetest

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/chaussette/chaussette/listener"
	"github.com/chaussette/chaussette/server/limits"
)

// Engine serves HTTP.
type Engine interface {
	// Serve accepts from l until that is closed; then it returns nil.
	Serve(l *listener.Listener) error
	StartDraining()
	WaitIdle(ctx context.Context) error
	Drain(ctx context.Context, quiet time.Duration) error
	// Close ends it at once. Serve has returned.
	Close() error
	Connections() int
}

// Options are what an engine is made with.
type Options struct {
	Limits    limits.Limits
	AccessLog *slog.Logger
	Log       *slog.Logger
}

// Open makes an engine that serves app.
type Open func(t *testing.T, app http.Handler, o Options) Engine

type engine struct {
	open    Open
	differs map[string]int
}

// Run runs the suite. differs has the status of bad input, by the name of its case, where an
// engine has another opinion than net/http: docs/backends.md says why.
func Run(t *testing.T, open Open, differs map[string]int) {
	e := engine{open, differs}
	for name, test := range map[string]func(*testing.T){
		"BadInput":                    e.testBadInput,
		"IdleTimeout":                 e.testIdleTimeout,
		"PipelinedRequests":           e.testPipelinedRequests,
		"UnreadBodyNeverComes":        e.testUnreadBodyNeverComes,
		"UnreadBodyComesLate":         e.testUnreadBodyComesLate,
		"SlowBodyThatGoesOn":          e.testSlowBodyThatGoesOn,
		"ClientClosesHalfWay":         e.testClientClosesHalfWay,
		"ClientLeavesWhileTheAppRuns": e.testClientLeavesWhileTheAppRuns,
		"Panic":                       e.testPanic,
		"AppWritesAfterItReturned":    e.testAppWritesAfterItReturned,
		"MaxConnections":              e.testMaxConnections,
		"Drain":                       e.testDrain,
		"DrainEndsInTime":             e.testDrainEndsInTime,
		"AccessLog":                   e.testAccessLog,
		"SendTimeout":                 e.testSendTimeout,
	} {
		t.Run(name, test)
	}
}
