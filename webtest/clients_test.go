package webtest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/socketio/engineio"
	"github.com/chaussette/chaussette/webtest"
)

// The clients of clients/package.json, oldest and newest of each protocol.
var clientVersions = []string{"0.9", "1.0", "1.7", "2.5", "3.1", "4"}

// Every client goes through clients/client.js on polling only, on websocket only, and
// with an upgrade from one to the other.
func TestClients(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal("node is not installed: make setup does that")
	}
	results := &matrix{cells: map[string]string{}}
	t.Cleanup(func() { t.Log(results) })
	for _, version := range clientVersions {
		for _, transports := range []string{"polling", "websocket", "upgrade"} {
			t.Run(version+"/"+transports, func(t *testing.T) {
				t.Parallel()
				server := startClientsServer(t)
				result := server.drive(t, version, transports)
				results.set(version, transports, result)
			})
		}
	}
}

// matrix prints what was tried.
type matrix struct {
	mu    sync.Mutex
	cells map[string]string
}

func (m *matrix) set(version, transports, result string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cells[version+transports] = result
}

func (m *matrix) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-22s%-14s%-14s%s\n", "socket.io-client", "polling", "websocket", "upgrade")
	for _, v := range clientVersions {
		fmt.Fprintf(&b, "%-22s%-14s%-14s%s\n", v, m.cells[v+"polling"], m.cells[v+"websocket"], m.cells[v+"upgrade"])
	}
	return b.String()
}

// clientsServer is a server that can be restarted on its port.
type clientsServer struct {
	address string
	reasons chan socketio.Reason // of the main socket

	mu   sync.Mutex
	http *http.Server
	io   *socketio.Server
}

func startClientsServer(t *testing.T) *clientsServer {
	s := &clientsServer{reasons: make(chan socketio.Reason, 100)}
	s.start(t, "127.0.0.1:0")
	t.Cleanup(s.stop)
	return s
}

func (s *clientsServer) start(t *testing.T, address string) {
	var l net.Listener
	var err error
	for range 50 { // the port may still be on its way to be free
		if l, err = net.Listen("tcp", address); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Error(err)
		return
	}
	// An answer may take long on a busy machine; protocol_test.go tests what happens without.
	io := socketio.NewServer(&socketio.Options{Engine: engineio.Options{PingInterval: 400 * time.Millisecond, PingTimeout: webtest.Patience}})
	register(io, s.reasons)
	server := &http.Server{Handler: io}
	s.mu.Lock()
	s.address, s.io, s.http = l.Addr().String(), io, server
	s.mu.Unlock()
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
}

func (s *clientsServer) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.http.Close()
	_ = s.io.Close()
}

// register is the app that client.js talks to.
func register(io *socketio.Server, reasons chan<- socketio.Reason) {
	io.Of("/refusing").Use(func(*socketio.Socket) error {
		return &socketio.Error{Message: "not you", Data: map[string]int{"code": 7}}
	})
	for _, n := range []*socketio.Namespace{io.Namespace, io.Of("/custom")} {
		n.On("auth", func(s *socketio.Socket) socketio.Raw { return s.Auth() })
		n.On("query", func(s *socketio.Socket) string { return s.Request().URL.Query().Get("token") })
		n.On("where", func(s *socketio.Socket) string { return s.Namespace().Name() })
	}
	io.On("echo", func(e *socketio.Event, all ...socketio.Raw) error {
		var args []any
		for _, a := range all {
			args = append(args, a)
		}
		return e.Ack(args...)
	})
	io.On("ask me", func(ctx context.Context, s *socketio.Socket, n int) (int, error) {
		return socketio.Call[int](ctx, s, "question", n)
	})
	io.On("count bytes", func(b []byte) int { return len(b) })
	io.On("send me a blob", func(s *socketio.Socket) error {
		return s.Emit("blob", map[string]any{"data": []byte{5, 4, 3}})
	})
	io.On("fails", func() error { return errors.New("not today") })
	io.On("join", func(s *socketio.Socket, room socketio.Room) socketio.Room { s.Join(room); return room })
	io.On("shout", func(s *socketio.Socket, room socketio.Room, text socketio.Raw) error {
		return s.Namespace().To(room).Emit("heard", text)
	})
	io.On("whisper", func(s *socketio.Socket, room socketio.Room, text string) error {
		return s.To(room).Emit("whispered", text)
	})
	io.On("transport", func(s *socketio.Socket) string { return string(s.Session().Transport()) })
	io.On("throw me out", func(s *socketio.Socket) { s.Disconnect(true) })
	io.On("leaving", func(s *socketio.Socket) { s.SetData("leaving") })
	io.OnDisconnect(func(s *socketio.Socket, reason socketio.Reason) {
		if s.Data() == "leaving" {
			reasons <- reason
		}
	})
}

// drive runs client.js and does what it asks for.
func (s *clientsServer) drive(t *testing.T, version, transports string) (result string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "client.js", version, transports, "http://"+s.address)
	cmd.Dir = "clients"
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	steps, failed := 0, ""
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var line struct{ Step, Error string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Logf("%s", lines.Text())
			continue
		}
		steps++
		if line.Error != "" {
			failed = line.Step
			t.Errorf("%s: %s", line.Step, line.Error)
		}
		if line.Step == "restart" {
			s.stop()
			s.start(t, s.address)
		}
	}
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, stderr.String())
		return "FAILED " + failed
	}
	select {
	case reason := <-s.reasons:
		want := map[bool]socketio.Reason{true: socketio.TransportClose, false: socketio.ClientDisconnect}[version < "1"]
		if reason != want && reason != socketio.TransportClose {
			t.Errorf("the server says %q, want %q", reason, want)
		}
	case <-time.After(webtest.Patience):
		t.Error("the server has not noticed that the client left")
	}
	return fmt.Sprintf("ok, %d steps", steps)
}
