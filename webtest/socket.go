package webtest

import (
	"github.com/chaussette/chaussette/ws/wstest"
)

// WebSocket connects to path on one of the workers, and fails the test if it cannot:
//
//	c := pool.WebSocket("/ws")
//	c.Frames(wstest.F(wstest.Text, "hello"))
//	c.Expect(wstest.F(wstest.Text, "hello"))
//	c.Bye()
func (p *Pool) WebSocket(path string) *wstest.Client {
	p.t.Helper()
	return wstest.Dial(p.t, p.Addr.String(), wstest.Handshake{Path: path})
}
