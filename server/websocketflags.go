package server

import (
	"fmt"
	"time"

	"github.com/chaussette/chaussette/ws"
)

// webSocketFlags defines the options of backends that speak WebSocket.
func (f *flags) webSocketFlags() {
	c := &f.config.WebSocket
	c.MaxMessageSize, c.MaxQueue = ws.DefaultMaxMessageSize, ws.DefaultMaxQueue
	c.PingInterval, c.PongTimeout, c.CloseTimeout = ws.DefaultPingInterval, ws.DefaultPongTimeout, ws.DefaultCloseTimeout

	s := f.group("WebSocket (0 is no limit, or never)")
	s.StringSliceVar(&c.Origins, "origin", nil, "`patterns` of origins that may connect beside the page's own host: example.com, *.example.com, https://example.com; * is any")
	s.Var(sizeFlag[int64]{&c.MaxMessageSize}, "max-message-size", "bytes of a message, beyond which the connection is closed with 1009")
	s.Var(durationFlag{&c.PingInterval}, "ping-interval", "time of silence after which a connection is pinged")
	s.Var(durationFlag{&c.PongTimeout}, "pong-timeout", "time of silence after a ping, beyond which the connection is cut")
	s.Var(sizeFlag[int64]{&c.MaxQueue}, "write-queue", "bytes that may wait for a client that reads slowly; see --slow-client")
	s.StringVar(&f.wsOverflow, "slow-client", ws.OverflowClose.String(), "`what` happens when the write queue is full: close the connection with 1013, or drop the message")
	s.StringVar(&f.wsDeflate, "ws-deflate", "off", "`whether` to compress messages (permessage-deflate): off, on, or stateless, which keeps no window for a connection")
	s.Var(countFlag{&f.config.Loops}, "loops", "event loops, on backends that have them; 0 is one for every two processors")
}

// finishWebSocket checks them, and makes a ws.Config of them.
func (f *flags) finishWebSocket() error {
	c := &f.config.WebSocket
	for _, limit := range []*time.Duration{&c.PingInterval, &c.PongTimeout} {
		*limit = noneIfZero(*limit)
	}
	c.MaxMessageSize, c.MaxQueue = noneIfZero(c.MaxMessageSize), noneIfZero(c.MaxQueue)
	switch f.wsOverflow {
	case "close":
		c.Overflow = ws.OverflowClose
	case "drop":
		c.Overflow = ws.OverflowDrop
	default:
		return fmt.Errorf("--slow-client %s: close or drop", f.wsOverflow)
	}
	switch f.wsDeflate {
	case "off":
	case "on":
		c.Deflate.Enabled = true
	case "stateless":
		c.Deflate.Enabled, c.Deflate.NoContextTakeover = true, true
	default:
		return fmt.Errorf("--ws-deflate %s: off, on or stateless", f.wsDeflate)
	}
	return nil
}
