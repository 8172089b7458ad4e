package socketio_test

import (
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/socketio"
)

// BenchmarkBroadcast is an event to a room of 100 clients on WebSocket, who read and discard.
func BenchmarkBroadcast(b *testing.B) {
	srv := newServer(b, nil)
	hs := httptest.NewServer(srv)
	defer hs.Close()
	joined := make(chan struct{})
	srv.OnConnect(func(s *socketio.Socket) {
		s.Join("room")
		joined <- struct{}{}
	})
	for range 100 {
		c, err := net.Dial("tcp", strings.TrimPrefix(hs.URL, "http://"))
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		go func() { _, _ = io.Copy(io.Discard, c) }()
		// A masked text frame of "40", with a mask of zeros.
		_, _ = c.Write([]byte{0x81, 0x82, 0, 0, 0, 0, '4', '0'})
		<-joined
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := srv.To("room").Emit("said", "somebody", "hello"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJoinLeave is a socket that joins a room and leaves it.
func BenchmarkJoinLeave(b *testing.B) {
	srv := newServer(b, nil)
	c := connect(b, srv, "/")
	s := srv.Sockets()[0]
	b.ReportAllocs()
	for b.Loop() {
		s.Join("room")
		s.Leave("room")
	}
	c.Send("1")
}
