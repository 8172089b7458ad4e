package webtest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/chaussette/chaussette/internal/certtest"
	"github.com/chaussette/chaussette/webtest"
)

func startWebTransport(t *testing.T, workers int, more ...string) (p *webtest.Pool, hash string) {
	t.Helper()
	c := certtest.Get()
	args := append([]string{"--backend", "socketio", "--certfile", c.File(t), "--webtransport", "127.0.0.1:{port}"}, more...)
	return webtest.StartProgram(t, webtest.Circus, workers, webtest.Build(t, "./webtransportapp"), nil, args...), c.Hash()
}

// runChromium runs clients/webtransport.js, and calls on for each step that it tells of,
// with its standard input.
func runChromium(t *testing.T, p *webtest.Pool, hash, script string, on func(step string, in io.Writer)) {
	t.Helper()
	for _, program := range []string{"node", "chromium"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatal(program + " is not installed: make setup does that")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*webtest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "webtransport.js", "https://"+p.Addr.String(), hash, script)
	cmd.Dir = "clients"
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var line struct{ Step string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Logf("%s", lines.Text())
			continue
		}
		t.Log(line.Step)
		on(line.Step, in)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, stderr.String())
	}
}

// socket.io-client over WebTransport, in a real browser, with one worker.
func TestWebTransport(t *testing.T) {
	p, hash := startWebTransport(t, 1)
	back := false
	runChromium(t, p, hash, "alone", func(step string, _ io.Writer) {
		w := p.Workers[0]
		switch step {
		case "thrown out":
			w.WaitLog(`a client has left.*reason="?server namespace disconnect`)
		case "disconnected":
			// The client closes the session behind its last packet, which the close may overtake:
			// it ends the streams, and what is on its way with them.
			w.WaitLog(`a client has left.*reason="?(client namespace disconnect|transport close)`)
		case "restart":
			w.Restart()
		case "kill":
			w.Signal(syscall.SIGKILL)
			w.Wait()
			p.Workers[0] = p.Spawn()
		case "back":
			back = true
		}
	})
	if !back {
		t.Error("the clients have not come to their end")
	}
}

// An upgrade that reaches another worker than that of its session goes on there. When workers
// are replaced, clients have missed nothing.
func TestWebTransportSiblings(t *testing.T) {
	p, hash := startWebTransport(t, 2, "--log-level", "debug", "--socketio-recovery", "1m")
	back := false
	runChromium(t, p, hash, "siblings", func(step string, in io.Writer) {
		switch step {
		case "upgraded":
			relayed := 0
			for _, w := range p.Workers {
				relayed += strings.Count(w.Log(), "is relayed to a sibling")
			}
			// By the kernel's dice, 12 times over.
			if relayed == 0 {
				t.Error("none was relayed")
			}
			t.Logf("%d of 12 relayed", relayed)
		case "first", "second":
			i := map[string]int{"first": 0, "second": 1}[step]
			p.Workers[i].Restart()
			fmt.Fprintln(in, step)
		case "back":
			back = true
		}
	})
	if !back {
		t.Error("the clients have not come to their end")
	}
}
