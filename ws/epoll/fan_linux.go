package epoll

import (
	"slices"

	"github.com/chaussette/chaussette/ws"
)

// SendPreparedTo implements ws.Fan.
func (c *conn) SendPreparedTo(conns []*ws.Conn, p *ws.Prepared, except []*ws.Conn) int {
	batch := c.engine.loops.Batch()
	defer batch.Release()
	sent := 0
	for _, to := range conns {
		if len(except) > 0 && slices.Contains(except, to) {
			continue
		}
		peer, ok := to.Driver().(*conn)
		if !ok { // TLS, say
			if to.SendPrepared(p) == nil {
				sent++
			}
			continue
		}
		frames := p.Frames(peer.link.Conn.Deflate())
		batch.Lock(&peer.io)
		now, err := peer.link.AdmitLocked(frames)
		if now {
			err = batch.WriteLocked(&peer.io, frames)
		} else {
			peer.io.Unlock()
		}
		if err == nil {
			sent++
		}
	}
	return sent
}
