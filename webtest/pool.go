package webtest

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience bounds every wait in this package for something that must happen.
const Patience = 30 * time.Second

// Pool is a number of workers of one program on one socket.
type Pool struct {
	Workers []*Worker
	// Addr is where they serve.
	Addr net.Addr

	t       testing.TB
	manager Manager
	program string
	args    []string
	env     []string
	socket  *os.File // what the workers inherit; nil where they do not

	mu  sync.Mutex
	all []*Worker // those that were replaced as well
}

// Start starts n workers of the chaussette command under m, with the arguments args, and
// waits until they serve. They end with the test. With [Alone] n is 1. In args, {port} is
// the port of the socket that they inherit.
func Start(t testing.TB, m Manager, n int, args ...string) *Pool {
	t.Helper()
	return StartProgram(t, m, n, Build(t, Chaussette), nil, args...)
}

// StartProgram is Start for the program at path, which calls server.Main. To what the
// manager has in its workers' environment env is added.
func StartProgram(t testing.TB, m Manager, n int, path string, env []string, args ...string) *Pool {
	t.Helper()
	p := &Pool{t: t, manager: m, program: path, args: args, env: env}
	if m.shared {
		p.socket, p.Addr = m.listen(t)
		if addr, ok := p.Addr.(*net.TCPAddr); ok {
			p.args = slices.Clone(args)
			for i, a := range p.args {
				p.args[i] = strings.ReplaceAll(a, "{port}", strconv.Itoa(addr.Port))
			}
		}
	}
	t.Cleanup(p.end)
	for range n {
		p.Workers = append(p.Workers, p.Spawn())
	}
	return p
}

// At is a pool without workers: a way to talk to what something else has started at
// address, "tcp" or "unix".
func At(t testing.TB, network, address string) *Pool {
	t.Helper()
	p := &Pool{t: t}
	if network == "unix" {
		p.Addr = &net.UnixAddr{Name: address, Net: "unix"}
		return p
	}
	addr, err := net.ResolveTCPAddr(network, address)
	if err != nil {
		t.Fatal(err)
	}
	p.Addr = addr
	return p
}

// Spawn starts one more worker, which Workers does not hold, and waits until it serves.
func (p *Pool) Spawn() *Worker {
	p.t.Helper()
	w := p.start()
	w.WaitLog("as a backend")
	if p.socket == nil {
		p.Addr = addrOf(w)
	}
	return w
}

// addrOf reads from the log where a worker serves that has opened its own socket.
func addrOf(w *Worker) net.Addr {
	w.pool.t.Helper()
	address := w.WaitLog(`Serving on (\S+)`)[1]
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return &net.UnixAddr{Name: path, Net: "unix"}
	}
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		w.pool.t.Fatal(err)
	}
	return addr
}

// end stops what still runs. On a failed test it shows every log.
func (p *Pool) end() {
	p.mu.Lock()
	all := p.all
	p.mu.Unlock()
	var stopping sync.WaitGroup
	for _, w := range all {
		if w.running() {
			stopping.Go(func() {
				if status := w.Stop(); status > 0 {
					p.t.Errorf("worker %d ended with status %d", w.PID, status)
				}
			})
		}
	}
	stopping.Wait()
	for _, w := range all {
		if w.leftChild() {
			p.t.Errorf("worker %d has left a child behind, which was killed", w.PID)
		}
		if p.t.Failed() {
			p.t.Logf("worker %d under %s, exit status %d:\nstdout:\n%s\nstderr:\n%s", w.PID, p.manager, w.status(), w.stdout, w.stderr)
		}
		if strings.Contains(w.stderr.String(), "WARNING: DATA RACE") {
			p.t.Errorf("worker %d has a data race:\n%s", w.PID, w.stderr)
		}
	}
}

// Dial opens a connection to the pool. Its deadline is Patience from now.
func (p *Pool) Dial() net.Conn {
	p.t.Helper()
	c, err := net.Dial(p.Addr.Network(), p.Addr.String())
	if err != nil {
		p.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(Patience))
	p.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Client returns a client whose every request goes to the pool, whatever host the URL
// names. It keeps connections alive unless told otherwise.
func (p *Pool) Client(keepAlive bool) *http.Client {
	transport := &http.Transport{
		DisableKeepAlives: !keepAlive,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, p.Addr.Network(), p.Addr.String())
		},
	}
	p.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: Patience}
}

// Get asks for a path on a connection of its own, and returns the body of the answer,
// which must be 200.
func (p *Pool) Get(path string) string {
	p.t.Helper()
	r, err := p.Client(false).Get("http://pool" + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		p.t.Fatalf("GET %s: %s %q %v", path, r.Status, body, err)
	}
	return string(body)
}
