package webtest_test

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/chaussette/chaussette/webtest"
	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/wstest"
)

// The page of the echo app works in a browser on both backends.
func TestEchoPage(t *testing.T) {
	for _, program := range []string{"node", "chromium"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatal(program + " is not installed: make setup does that")
		}
	}
	for _, backend := range []string{"websocket", "ws4py"} {
		t.Run(backend, func(t *testing.T) {
			pool := webtest.Start(t, webtest.Circus, 2, "--backend", backend, "echo")
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "node", "clients/echo.js", "http://"+pool.Addr.String()+"/")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// A worker that its manager stops sends its clients to a sibling.
func TestEchoRestart(t *testing.T) {
	for _, backend := range []string{"websocket", "ws4py"} {
		t.Run(backend, func(t *testing.T) {
			pool := webtest.Start(t, webtest.Circus, 1, "--backend", backend, "echo")
			c := pool.WebSocket("/ws")
			c.Frames(wstest.F(wstest.Text, "hello"))
			c.Expect(wstest.F(wstest.Text, "hello"))
			stopped := make(chan int)
			go func() { stopped <- pool.Workers[0].Stop() }()
			c.Expect(wstest.CloseFrame(ws.StatusServiceRestart, ""))
			c.Frames(wstest.CloseFrame(ws.StatusServiceRestart, ""))
			c.ExpectEOF()
			if status := <-stopped; status != 0 {
				t.Errorf("exit status %d", status)
			}
		})
	}
}
