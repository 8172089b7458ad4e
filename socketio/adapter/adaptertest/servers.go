package adaptertest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Broker is a server between workers, as a process of its own on a port of the loopback
// interface. The test stops it.
type Broker struct {
	Addr string // host and port
	URL  string

	t       testing.TB
	args    []string
	answers func(net.Conn) bool
	cmd     *exec.Cmd
	log     string // a file
}

// brokerPatience is how long a broker may take to start, on a slow machine.
const brokerPatience = 20 * time.Second

// StartRedis starts a redis-server that keeps nothing.
func StartRedis(t testing.TB) *Broker {
	t.Helper()
	b := newBroker(t, "redis://")
	host, port, _ := net.SplitHostPort(b.Addr)
	b.args = []string{"redis-server", "--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--dir", t.TempDir()}
	b.answers = func(c net.Conn) bool {
		_, _ = fmt.Fprint(c, "PING\r\n")
		line, _ := bufio.NewReader(c).ReadString('\n')
		return strings.HasPrefix(line, "+PONG")
	}
	b.Start()
	return b
}

// StartNATS starts a nats-server.
func StartNATS(t testing.TB) *Broker {
	t.Helper()
	b := newBroker(t, "nats://")
	host, port, _ := net.SplitHostPort(b.Addr)
	b.args = []string{"nats-server", "-a", host, "-p", port}
	b.answers = func(c net.Conn) bool {
		line, _ := bufio.NewReader(c).ReadString('\n')
		return strings.HasPrefix(line, "INFO ")
	}
	b.Start()
	return b
}

func newBroker(t testing.TB, scheme string) *Broker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	b := &Broker{Addr: addr, URL: scheme + addr, t: t, log: filepath.Join(t.TempDir(), "log")}
	t.Cleanup(b.Stop)
	return b
}

// Start starts the broker again after Stop, at the same address.
func (b *Broker) Start() {
	b.t.Helper()
	log, err := os.Create(b.log)
	if err != nil {
		b.t.Fatal(err)
	}
	defer log.Close()
	b.cmd = exec.Command(b.args[0], b.args[1:]...)
	b.cmd.Stdout, b.cmd.Stderr = log, log
	if err := b.cmd.Start(); err != nil {
		b.t.Fatalf("%v: make setup installs it", err)
	}
	for end := time.Now().Add(brokerPatience); ; time.Sleep(5 * time.Millisecond) {
		if c, err := net.Dial("tcp", b.Addr); err == nil {
			_ = c.SetDeadline(time.Now().Add(time.Second))
			there := b.answers(c)
			_ = c.Close()
			if there {
				return
			}
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(b.log)
			b.t.Fatalf("%s does not answer in %v:\n%s", b.args[0], brokerPatience, text)
		}
	}
}

// Stop kills the broker. A second call does nothing.
func (b *Broker) Stop() {
	if b.cmd == nil {
		return
	}
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
	b.cmd = nil
}
