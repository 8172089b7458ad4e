//go:build linux

package epoll_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/epoll"
	"github.com/chaussette/chaussette/ws/wstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newEngine(t testing.TB, config ws.Config) ws.Engine {
	e, err := epoll.New(&config, &epoll.Options{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestSuite(t *testing.T) { wstest.Run(t, newEngine) }
