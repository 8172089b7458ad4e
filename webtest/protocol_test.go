package webtest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chaussette/chaussette/webtest"
)

// The bare protocols, spoken by clients/protocol.js to protocolapp as its own process.
func TestProtocol(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal("node is not installed: make setup does that")
	}
	url := startProgram(t, "./protocolapp",
		"--socketio-ping-interval", "300ms", "--socketio-ping-timeout", "200ms", "--socketio-max-payload", "1000000")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "protocol.js", url)
	cmd.Dir = "clients"
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	checks := 0
	for line := range bytes.Lines(out) {
		var check struct{ Name, Error string }
		if err := json.Unmarshal(line, &check); err != nil {
			t.Fatalf("%s", line)
		}
		checks++
		if check.Error != "" {
			t.Errorf("%s: %s", check.Name, check.Error)
		}
	}
	if err != nil && !t.Failed() {
		t.Errorf("%v\n%s", err, stderr.String())
	}
	if checks < 60 {
		t.Errorf("only %d checks ran", checks)
	}
}

// An app that was written for go-socket.io is served as it stands.
func TestGoSocketIO(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal("node is not installed: make setup does that")
	}
	url := startProgram(t, "../examples/go-socket.io")
	for _, transport := range []string{"polling", "websocket"} {
		cmd := exec.Command("node", "-e", `
			const socket = require("socket.io-client-2.5")(process.argv[1], { transports: [process.argv[2]] });
			socket.on("reply", (text) => { console.log(text); process.exit(0); });
			socket.emit("msg", "hello", (text) => { console.log(text); socket.emit("notice", "this"); });
			setTimeout(() => process.exit(1), 60000);`, url, transport)
		cmd.Dir = "clients"
		out, err := cmd.CombinedOutput()
		if want := "recv hello\nhave this\n"; err != nil || string(out) != want {
			t.Errorf("%s: %v: %q, want %q", transport, err, out, want)
		}
	}
}

// startProgram builds a program that is a worker, runs it and returns its URL.
func startProgram(t *testing.T, pkg string, args ...string) string {
	binary := filepath.Join(t.TempDir(), "program")
	if out, err := exec.Command("go", "build", "-o", binary, pkg).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(binary, append([]string{"--host", "127.0.0.1", "--port", "0"}, args...)...)
	cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	serving := make(chan string, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			if _, address, ok := strings.Cut(lines.Text(), "Serving on "); ok {
				serving <- address
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-read
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", pkg, err)
		}
	})
	select {
	case address := <-serving:
		return "http://" + address
	case <-time.After(webtest.Patience):
		t.Fatal(pkg + " does not serve")
		return ""
	}
}
