// Package enginetest is the suite that every HTTP engine passes.
package enginetest

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"strings"
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
	Hold      int64 // the longest body that is left with the system until it is whole
	HoldTotal int64 // and how many bytes of them at once
	AccessLog *slog.Logger
	Log       *slog.Logger
}

// Open makes an engine that serves app.
type Open func(t *testing.T, app http.Handler, o Options) Engine

// Differences are the cases in which an engine answers otherwise than the suite wants, and is
// right to: what it answers, by the case's name, by how the row begins of the table in
// docs/backends.md that says so.
type Differences map[string]map[string]string

type engine struct {
	open    Open
	differs Differences
}

// Run runs the suite. What it wants is what net/http does; differs has the cases in which an
// engine differs, by their names.
func Run(t *testing.T, open Open, differs Differences) {
	e := engine{open, differs}
	e.checkDifferences(t)
	tests := map[string]func(*testing.T){
		"Answers":                     e.testAnswers,
		"Flush":                       e.testFlush,
		"Interim":                     e.testInterim,
		"Expect":                      e.testExpect,
		"FullDuplex":                  e.testFullDuplex,
		"ReadDeadline":                e.testReadDeadline,
		"WriteDeadline":               e.testWriteDeadline,
		"Hijack":                      e.testHijack,
		"Files":                       e.testFiles,
		"HeadSize":                    e.testHeadSize,
		"BadInput":                    e.testBadInput,
		"IdleTimeout":                 e.testIdleTimeout,
		"PipelinedRequests":           e.testPipelinedRequests,
		"PipelinedBodies":             e.testPipelinedBodies,
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
	}
	maps.Copy(tests, e.systemTests())
	for name, test := range tests {
		t.Run(name, test)
	}
}

// wants is what the engine is to answer in a case.
func (e engine) wants(name, want string) string {
	for _, cases := range e.differs {
		if differs, ok := cases[name]; ok {
			return differs
		}
	}
	return want
}

// checkDifferences holds them against the suite and against what the documentation names.
func (e engine) checkDifferences(t *testing.T) {
	page, err := os.ReadFile("../../docs/backends.md") // of a package's test
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, x := range exchanges {
		known[x.name] = true
	}
	for _, x := range badInput {
		known[x.name] = true
	}
	_, section, _ := strings.Cut(string(page), "## Where the engines differ")
	for line := range strings.Lines(section) {
		shown := len(e.differs) == 0 || !strings.HasPrefix(line, "| ") || strings.Contains(line, "| net/http | event loop |")
		for row := range e.differs {
			shown = shown || strings.HasPrefix(line, "| "+row)
		}
		if !shown {
			t.Errorf("no case shows what docs/backends.md says: %s", line)
		}
	}
	for row, cases := range e.differs {
		if !strings.Contains(string(page), "\n| "+row) {
			t.Errorf("docs/backends.md has no row %q", row)
		}
		for name := range cases {
			if !known[name] {
				t.Errorf("there is no case %q", name)
			}
		}
	}
}
