package webtest_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chaussette/chaussette/webtest"
)

// writeCertificate writes a certificate with its key, and returns the file and its hash as
// serverCertificateHashes has it: browsers take those with an elliptic curve that are valid
// for two weeks at most.
func writeCertificate(t *testing.T) (file, hash string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(13 * 24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	file = filepath.Join(t.TempDir(), "both.pem")
	if err := os.WriteFile(file, both, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return file, base64.StdEncoding.EncodeToString(sum[:])
}

func startWebTransport(t *testing.T, workers int, more ...string) (p *webtest.Pool, hash string) {
	t.Helper()
	file, hash := writeCertificate(t)
	args := append([]string{"--backend", "socketio", "--certfile", file, "--webtransport", "127.0.0.1:{port}"}, more...)
	return webtest.StartProgram(t, webtest.Circus, workers, webtest.Build(t, "./webtransportapp"), nil, args...), hash
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
			w.WaitLog(`a client has left.*reason="?client namespace disconnect`)
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
