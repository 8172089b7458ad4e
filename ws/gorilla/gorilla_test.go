package gorilla_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/gorilla"
	"github.com/chaussette/chaussette/ws/wstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newEngine(t testing.TB, config ws.Config) ws.Engine { return gorilla.New(&config) }

func TestSuite(t *testing.T) { wstest.Run(t, newEngine, nil) }
