package wstest

import (
	"testing"

	"github.com/chaussette/chaussette/ws"
)

// Run runs the suite that every Engine passes, over TCP and in memory. Start says how a
// server is started; nil is Serve.
func Run(t *testing.T, newEngine NewEngine, start Start) {
	other := start != nil
	if !other {
		start = Serve
	}
	t.Run("Conformance", func(t *testing.T) {
		for _, app := range []struct {
			name     string
			blocking bool
		}{{"Handler", false}, {"Read", true}} {
			t.Run(app.name, func(t *testing.T) {
				server := start(t, newEngine(t, defaults), EchoApp(app.blocking))
				runConformance(t, conformanceCases(), func(t testing.TB) *Client { return Dial(t, server.Address, Handshake{}) })
			})
		}
		t.Run("Memory", func(t *testing.T) {
			engine := newEngine(t, defaults)
			closeAfter(t, engine)
			runConformance(t, conformanceCases(), func(t testing.TB) *Client {
				c, client := Pair(t, engine, nil)
				c.Serve(Echo{})
				return client
			})
		})
	})
	t.Run("Deflate", func(t *testing.T) { runDeflate(t, newEngine, start) })
	if !other { // they take their time, and how a connection begins is all one to them
		t.Run("LargeMessages", func(t *testing.T) {
			server := start(t, newEngine(t, ws.Config{MaxMessageSize: 16 << 20}), EchoApp(false))
			runConformance(t, largeCases(), func(t testing.TB) *Client { return Dial(t, server.Address, Handshake{}) })
		})
		t.Run("DeflateCases", func(t *testing.T) { runDeflateCases(t, newEngine, start) })
	}
	t.Run("Handshake", func(t *testing.T) { runHandshake(t, newEngine, start) })
	t.Run("Behaviour", func(t *testing.T) { runBehaviour(t, newEngine, start) })
	t.Run("BadInput", func(t *testing.T) { runBadInput(t, newEngine, start) })
}
