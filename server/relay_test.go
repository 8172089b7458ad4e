package server

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// A relay ends with either side.
func TestRelay(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(client, sibling net.Conn, stop func())
	}{
		{"the client goes", func(client, _ net.Conn, _ func()) { client.Close() }},
		{"the sibling closes", func(_, sibling net.Conn, _ func()) { sibling.Close() }},
		{"the worker drains", func(_, _ net.Conn, stop func()) { stop() }},
		{"the worker drains, and the sibling is stopped", func(client, _ net.Conn, stop func()) {
			_, _ = client.Write([]byte("not read"))
			stop()
		}},
		{"the sibling is stopped", func(client, _ net.Conn, _ func()) { _, _ = client.Write([]byte("not read")) }},
		{"the client reads nothing", func(_, sibling net.Conn, _ func()) { _, _ = sibling.Write([]byte("not read")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, st := net.Pipe()
				sibling, ours := net.Pipe()
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					relay(ctx, st, ours)
					st.Close()
				}()
				for _, ends := range [][2]net.Conn{{client, sibling}, {sibling, client}} {
					if _, err := ends[0].Write([]byte("hello")); err != nil {
						t.Fatal(err)
					}
					if _, err := io.ReadFull(ends[1], make([]byte, 5)); err != nil {
						t.Fatal(err)
					}
				}
				begun := time.Now()
				c.end(client, sibling, stop)
				<-ended
				if waited := time.Since(begun); waited > relayPatience {
					t.Errorf("ended after %v", waited)
				} else if waited > 0 && ctx.Err() != nil {
					t.Errorf("a drain waits for %v", waited)
				}
				client.Close()
				sibling.Close()
			})
		})
	}
}
