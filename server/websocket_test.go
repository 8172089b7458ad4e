package server_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/app/builtin"
	"github.com/chaussette/chaussette/server"
	"github.com/chaussette/chaussette/server/limits"
	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/wstest"
)

// webSocketBackends are those on which the tests of this file run.
var webSocketBackends = []string{"websocket", "ws4py"}

// work runs a worker until stop is called, which waits for its end.
func work(t *testing.T, app http.Handler, c server.Config) (address string, stop func(), log *logBuffer) {
	t.Helper()
	log = newLogBuffer()
	c.Address, c.Log = "127.0.0.1:0", slog.New(slog.NewTextHandler(log, nil))
	w, err := server.New(app, c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return log.wait(t, `Serving on ([0-9.]+:[0-9]+)`)[1], stop, log
}

func onBothBackends(t *testing.T, f func(t *testing.T, c server.Config)) {
	for _, backend := range webSocketBackends {
		t.Run(backend, func(t *testing.T) { f(t, server.Config{Backend: backend}) })
	}
}

func TestEchoApp(t *testing.T) {
	onBothBackends(t, func(t *testing.T, c server.Config) {
		c.WebSocket.Deflate.Enabled = true
		address, _, log := work(t, builtin.Echo{}, c)
		client := wstest.Dial(t, address, wstest.Handshake{Path: "/ws", Header: http.Header{"Origin": {"http://" + address}}})
		client.Frames(wstest.F(wstest.Text, "hello"))
		client.Expect(wstest.F(wstest.Text, "hello"))
		client.Bye()
		for _, refused := range []struct {
			shake  wstest.Handshake
			status int
			log    string
		}{
			{wstest.Handshake{Path: "/elsewhere"}, 404, "the WebSocket is at /ws"},
			{wstest.Handshake{Path: "/ws", Header: http.Header{"Origin": {"http://evil.example"}}}, 403, "may not connect"},
			{wstest.Handshake{Path: "/ws", Header: http.Header{"Sec-WebSocket-Version": {"8"}}}, 426, "version 13"},
		} {
			if got := wstest.DialRaw(t, address, refused.shake).Response.StatusCode; got != refused.status {
				t.Errorf("%+v: status %d, want %d", refused.shake, got, refused.status)
			}
			log.wait(t, refused.log)
		}
		r, err := http.Get("http://" + address)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if page, _ := io.ReadAll(r.Body); !strings.Contains(string(page), "new WebSocket") {
			t.Error("no page at /")
		}
		http.DefaultClient.CloseIdleConnections()
	})
}

// A message over the limit is told to the peer and to the operator.
func TestMessageLimit(t *testing.T) {
	onBothBackends(t, func(t *testing.T, c server.Config) {
		c.WebSocket.MaxMessageSize = 1000
		address, _, log := work(t, builtin.Echo{}, c)
		client := wstest.Dial(t, address, wstest.Handshake{Path: "/ws"})
		client.Frames(wstest.F(wstest.Text, strings.Repeat("x", 1001)))
		client.ExpectClose(ws.StatusMessageTooBig)
		log.wait(t, "max-message-size")
	})
}

func TestConnectionLimit(t *testing.T) {
	onBothBackends(t, func(t *testing.T, c server.Config) {
		c.Limits = limits.Limits{Connections: 2}
		address, _, _ := work(t, builtin.Echo{}, c)
		wstest.Dial(t, address, wstest.Handshake{Path: "/ws"})
		wstest.Dial(t, address, wstest.Handshake{Path: "/ws"})
		if got := wstest.DialRaw(t, address, wstest.Handshake{Path: "/ws"}).Response.StatusCode; got != http.StatusServiceUnavailable {
			t.Errorf("status %d, want 503", got)
		}
	})
}

// closer tells how connections end.
type closer struct {
	wstest.Echo
	ended chan *ws.CloseError
}

func (closer) ServeHTTP(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") }
func (c closer) Close(_ *ws.Conn, err *ws.CloseError)           { c.ended <- err }

// A drain closes with 1012, and waits for the clients' answers and the app's Close.
func TestDrainClosesWebSockets(t *testing.T) {
	onBothBackends(t, func(t *testing.T, c server.Config) {
		app := closer{ended: make(chan *ws.CloseError, 10)}
		address, stop, _ := work(t, app, c)
		var clients []*wstest.Client
		for range 5 {
			clients = append(clients, wstest.Dial(t, address, wstest.Handshake{}))
		}
		for _, client := range clients {
			client.Frames(wstest.F(wstest.Text, "x"))
			client.Expect(wstest.F(wstest.Text, "x"))
		}
		stopping := make(chan struct{})
		go func() { defer close(stopping); stop() }()
		for _, client := range clients {
			client.Expect(wstest.CloseFrame(ws.StatusServiceRestart, ""))
			client.Frames(wstest.CloseFrame(ws.StatusServiceRestart, ""))
			client.ExpectEOF()
		}
		<-stopping
		for range clients {
			if err := <-app.ended; err.Code != ws.StatusServiceRestart || !err.Local {
				t.Errorf("closed with %v", err)
			}
		}
	})
}

// A client that does not answer holds up a drain no longer than the graceful timeout.
func TestDrainCutsWebSockets(t *testing.T) {
	onBothBackends(t, func(t *testing.T, c server.Config) {
		c.GracefulTimeout = 200 * time.Millisecond
		address, stop, log := work(t, builtin.Echo{}, c)
		client := wstest.Dial(t, address, wstest.Handshake{Path: "/ws"})
		stop()
		client.Expect(wstest.CloseFrame(ws.StatusServiceRestart, ""))
		client.ExpectEOF()
		log.wait(t, "WebSockets are cut")
	})
}

// blocking is an app in the plain way, which runs on both backends.
func blocking(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/private" {
		http.Error(w, "no", http.StatusUnauthorized)
		if ws.FromRequest(r) == nil {
			return
		}
	}
	c, err := ws.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close(ws.StatusNormal, "")
	for {
		typ, p, err := c.Read(r.Context())
		if err != nil || string(p) == "leave" || c.Write(r.Context(), typ, p) != nil {
			return
		}
		if string(p) == "panic" {
			panic("asked to")
		}
	}
}

func TestBlockingApp(t *testing.T) {
	onBothBackends(t, func(t *testing.T, c server.Config) {
		address, _, _ := work(t, http.HandlerFunc(blocking), c)
		client := wstest.Dial(t, address, wstest.Handshake{})
		for _, text := range []string{"one", "two"} {
			client.Frames(wstest.F(wstest.Text, text))
			client.Expect(wstest.F(wstest.Text, text))
		}
		client.Frames(wstest.F(wstest.Text, "leave"))
		client.Expect(wstest.CloseFrame(ws.StatusNormal, ""))
		client.Frames(wstest.CloseFrame(ws.StatusNormal, ""))
		client.ExpectEOF()

		// Who decides on the upgrade is what the backends differ in.
		status := wstest.DialRaw(t, address, wstest.Handshake{Path: "/private"}).Response.StatusCode
		if want := map[string]int{"websocket": 101, "ws4py": 401}[c.Backend]; status != want {
			t.Errorf("status %d, want %d", status, want)
		}
	})
}

func TestAppThatPanics(t *testing.T) {
	onBothBackends(t, func(t *testing.T, c server.Config) {
		address, _, log := work(t, http.HandlerFunc(blocking), c)
		client := wstest.Dial(t, address, wstest.Handshake{})
		client.Frames(wstest.F(wstest.Text, "panic"))
		client.Expect(wstest.F(wstest.Text, "panic"))
		if f, err := client.Next(); err != nil || f.Opcode != wstest.Close {
			t.Errorf("got %v, %v", f, err)
		}
		log.wait(t, "the app panicked")
		again := wstest.Dial(t, address, wstest.Handshake{})
		again.Frames(wstest.F(wstest.Text, "still here"))
		again.Expect(wstest.F(wstest.Text, "still here"))
	})
}
