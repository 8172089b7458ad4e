package webtest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chaussette/chaussette/webtest"
	"github.com/chaussette/chaussette/ws/wstest"
)

// kept is a connection that a client keeps alive, and knows of who answers.
type kept struct {
	net.Conn
	in *bufio.Reader
}

func (k *kept) ask() (pid int, err error) {
	if _, err := io.WriteString(k, "GET / HTTP/1.1\r\nHost: pool\r\n\r\n"); err != nil {
		return 0, err
	}
	r, err := http.ReadResponse(k.in, nil)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK || r.Close {
		return 0, fmt.Errorf("%s %q, closes: %t, %v", r.Status, body, r.Close, err)
	}
	return strconv.Atoi(string(body))
}

// A worker that drains hands what its clients keep alive to its siblings: no client sees
// its connection end, idle or busy.
func TestDrainHandsOver(t *testing.T) {
	for _, backend := range []string{"http", "waitress", "websocket", "socketio"} {
		t.Run(backend, func(t *testing.T) {
			pool := webtest.StartProgram(t, webtest.Parent, 3, webtest.Build(t, "./siblingsapp"), nil, "--backend", backend)
			var idle []*kept
			there := map[int]int{}
			for range 40 {
				c := pool.Dial()
				k := &kept{c, bufio.NewReader(c)}
				pid, err := k.ask()
				if err != nil {
					t.Fatal(err)
				}
				idle = append(idle, k)
				there[pid]++
			}
			victim := pool.Workers[0]
			for i, w := range pool.Workers {
				if there[w.PID] > there[victim.PID] {
					victim = pool.Workers[i]
				}
			}
			var busy sync.WaitGroup
			var over atomic.Bool
			var asked atomic.Int64
			for _, k := range idle[30:] {
				busy.Go(func() {
					for !over.Load() {
						if _, err := k.ask(); err != nil {
							t.Errorf("a busy connection: %v", err)
							return
						}
						asked.Add(1)
					}
				})
			}
			if status := victim.Stop(); status != 0 {
				t.Errorf("the worker ended with status %d", status)
			}
			for before, end := asked.Load(), time.Now().Add(webtest.Patience); asked.Load() < before+100; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("nothing is answered any more")
				}
			}
			over.Store(true)
			busy.Wait()
			for _, k := range idle {
				if pid, err := k.ask(); err != nil || pid == victim.PID {
					t.Errorf("answered by %d (%d has ended), %v", pid, victim.PID, err)
				}
			}
		})
	}
}

// Where all workers stop at once, nobody gives away what nobody takes: who asks is
// answered.
func TestDrainOfAll(t *testing.T) {
	pool := webtest.StartProgram(t, webtest.Parent, 3, webtest.Build(t, "./siblingsapp"), nil, "--backend", "http")
	var all []*kept
	for range 30 {
		c := pool.Dial()
		k := &kept{c, bufio.NewReader(c)}
		if _, err := k.ask(); err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	for _, w := range pool.Workers {
		w.Signal(syscall.SIGTERM)
	}
	for _, w := range pool.Workers {
		w.WaitLog("Draining")
	}
	for _, k := range all {
		if _, err := io.WriteString(k, "GET / HTTP/1.1\r\nHost: pool\r\n\r\n"); err != nil {
			t.Error(err)
			continue
		}
		r, err := http.ReadResponse(k.in, nil)
		if err != nil {
			t.Errorf("a client that asks in time: %v", err)
			continue
		}
		_ = r.Body.Close()
		if r.StatusCode != http.StatusOK {
			t.Error(r.Status)
		}
	}
	for _, w := range pool.Workers {
		if status := w.Wait(); status != 0 {
			t.Errorf("a worker ended with status %d", status)
		}
	}
}

// A worker with far more than its share of WebSockets passes new ones on.
func TestBalance(t *testing.T) {
	for _, backend := range []string{"websocket", "ws4py"} {
		t.Run(backend, func(t *testing.T) {
			pool := webtest.StartProgram(t, webtest.Parent, 1, webtest.Build(t, "./siblingsapp"), nil, "--backend", backend)
			connect := func(n int) (by map[string]int) {
				by = map[string]int{}
				for range n {
					c := pool.WebSocket("/")
					c.Frames(wstest.F(wstest.Text, "who?"))
					frame, err := c.Next()
					if err != nil {
						t.Fatal(err)
					}
					by[string(frame.Payload)]++
				}
				return by
			}
			connect(200)
			late := pool.Spawn()
			pool.Workers[0].WaitLog("a sibling has joined")
			// At the end it has 200 of 290, still more than a quarter above its share of 145.
			by := connect(90)
			if n := by[strconv.Itoa(late.PID)]; n < 88 {
				t.Errorf("of 90 connections the new worker has %d: %v", n, by)
			}
		})
	}
}

// A broadcast to a group with a name reaches its WebSockets on every worker once, whichever
// worker it is sent on.
func TestGroups(t *testing.T) {
	for _, backend := range []string{"websocket", "ws4py"} {
		t.Run(backend, func(t *testing.T) {
			pool := webtest.StartProgram(t, webtest.Parent, 4, webtest.Build(t, "./siblingsapp"), nil, "--backend", backend)
			for i, w := range pool.Workers { // each knows of all: some may have met late
				for j := range pool.Workers {
					if i != j {
						w.WaitLog(fmt.Sprintf("a sibling has joined .*pid=%d", pool.Workers[j].PID))
					}
				}
			}
			clients := make([]*wstest.Client, 40)
			on := map[string]bool{}
			for i := range clients {
				clients[i] = pool.WebSocket("/")
				clients[i].Frames(wstest.F(wstest.Text, "who?"))
				frame, err := clients[i].Next()
				if err != nil {
					t.Fatal(err)
				}
				on[string(frame.Payload)] = true
			}
			if len(on) < 2 {
				t.Errorf("all clients are on one worker: %v", on)
			}
			for i := range 10 {
				text := fmt.Sprint("! from ", i)
				clients[i].Frames(wstest.F(wstest.Text, text))
				for j, c := range clients {
					if j != i {
						c.Expect(wstest.F(wstest.Text, text))
					}
				}
			}
			for i := range 10 { // POST goes to whichever worker
				text := fmt.Sprint("news ", i)
				r, err := pool.Client(false).Post("http://pool/", "text/plain", strings.NewReader(text))
				if err != nil {
					t.Fatal(err)
				}
				_ = r.Body.Close()
				for _, c := range clients {
					c.Expect(wstest.F(wstest.Text, text))
				}
			}
		})
	}
}
