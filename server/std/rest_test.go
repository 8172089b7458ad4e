package std_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chaussette/chaussette/server/std"
)

// other is a second engine, which connections are handed over to.
type other struct {
	*served
	conns chan net.Conn
	done  chan struct{}
	taken atomic.Int64
}

// Accept makes other the net.Listener of its engine.
func (o *other) Accept() (net.Conn, error) {
	select {
	case c := <-o.conns:
		return c, nil
	case <-o.done:
		return nil, net.ErrClosed
	}
}

func (o *other) Close() error   { return nil }
func (o *other) Addr() net.Addr { return &net.TCPAddr{} }

// take takes a connection by another descriptor.
func (o *other) take(t *testing.T, c net.Conn) bool {
	if kept, ok := c.(*kept); ok {
		c = kept.Conn
	}
	file, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Error(err)
		return false
	}
	defer file.Close()
	nc, err := net.FileConn(file)
	if err != nil {
		t.Error(err)
		return false
	}
	o.taken.Add(1)
	o.conns <- &kept{nc}
	return true
}

type kept struct{ net.Conn }

func (*kept) KeptAlive() bool { return true }

func named(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s%s", name, r.URL.Path, body)
	}
}

// serveBoth starts two engines.
func serveBoth(t *testing.T) (*served, *other) {
	t.Helper()
	o := &other{conns: make(chan net.Conn, 1000), done: make(chan struct{})}
	o.served = serve(t, named("b"), std.Options{})
	var serving sync.WaitGroup
	serving.Go(func() { _ = o.ServePlain(o) })
	t.Cleanup(func() {
		close(o.done)
		serving.Wait()
	})
	return serve(t, named("a"), std.Options{}), o
}

// client is a connection that a test writes bytes to.
type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (s *served) dial(t *testing.T) *client {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		t.Fatal(err)
	}
	return &client{t, c, bufio.NewReader(c)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// answered reads an answer.
func (c *client) answered(want string) {
	c.t.Helper()
	r, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Errorf("no answer: %v, want %q", err, want)
		return
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	closes := ""
	if r.Close {
		closes = ", and closes"
	}
	if got := string(body) + closes; err != nil || got != want {
		c.t.Errorf("%q, %v, want %q", got, err, want)
	}
}

const getX = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"

// A connection goes elsewhere when nothing of a request has been read, and not before.
func TestHandOver(t *testing.T) {
	a, b := serveBoth(t)
	fresh, idle, half, late := a.dial(t), a.dial(t), a.dial(t), a.dial(t)
	idle.send(getX)
	idle.answered("a /x")
	half.send(getX + getX[:10]) // the second has begun to arrive with the first
	half.answered("a /x")
	late.send(getX)
	late.answered("a /x")
	late.send("G")
	busy := a.dial(t)
	busy.send("POST /slow HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
	if line, err := busy.r.ReadString('\n'); !strings.Contains(line, "100") || err != nil {
		t.Fatalf("%q, %v, want 100: the app is called", line, err)
	}
	_, _ = busy.r.ReadString('\n')
	for end := time.Now().Add(patience); a.Connections() < 5; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connections do not come")
		}
	}
	a.StartDraining()
	a.HandOver(func(c net.Conn) bool { return b.take(t, c) })
	for end := time.Now().Add(patience); b.taken.Load() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections have moved, want 2", b.taken.Load())
		}
	}
	busy.send(".")
	busy.answered("a /slow.")
	half.send(getX[10:])
	half.answered("a /x")
	late.send(getX[1:])
	// Its first byte moves with the connection where nobody has read it so far.
	if r, err := http.ReadResponse(late.r, nil); err != nil || r.StatusCode != 200 {
		t.Errorf("%v, %v, want an answer", r, err)
	} else if body, err := io.ReadAll(r.Body); err != nil || !strings.HasSuffix(string(body), " /x") {
		t.Errorf("%q, %v, want an answer", body, err)
	}
	for _, c := range []*client{fresh, idle} {
		c.send(getX)
		c.answered("b /x")
	}
	for _, c := range []*client{half, late, busy} {
		// A request that comes faster than this one is over is served here as well.
		for by := ""; by != "b /x"; {
			c.send(getX)
			r, err := http.ReadResponse(c.r, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r.Body)
			if by = string(body); r.Close || err != nil {
				t.Fatalf("%s closes, %v", by, err)
			}
		}
	}
	for end := time.Now().Add(patience); a.Connections() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are left", a.Connections())
		}
	}
}

// A request whose first lines have come with the request before keeps its connection: net/http
// has them, and an empty buffer.
func TestHandOverBetweenLines(t *testing.T) {
	a, b := serveBoth(t)
	c := a.dial(t)
	c.send(getX + "GET /y HTTP/1.1\r\n")
	c.answered("a /x")
	a.HandOver(func(nc net.Conn) bool { return b.take(t, nc) })
	c.send("Host: h\r\n\r\n")
	c.answered("a /y")
	for end := time.Now().Add(patience); a.Connections() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection has not moved after that")
		}
	}
	c.send(getX)
	c.answered("b /x")
}

// Where nobody takes a connection it is served, and ends with its answer as it would have.
func TestHandOverToNobody(t *testing.T) {
	a := serve(t, named("a"), std.Options{})
	idle, next := a.dial(t), a.dial(t)
	for _, c := range []*client{idle, next} {
		c.send(getX)
		c.answered("a /x")
	}
	a.StartDraining()
	var asked atomic.Int64
	a.HandOver(func(net.Conn) bool { asked.Add(1); return false })
	for end := time.Now().Add(patience); asked.Load() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody was asked")
		}
	}
	idle.send(getX) // as long as somebody might
	idle.answered("a /x")
	a.HandOver(nil)
	next.send(getX)
	next.answered("a /x, and closes")
}

// Connections that move to and fro at any moment lose no byte of their requests.
func TestHandOverUnderLoad(t *testing.T) {
	a, b := serveBoth(t)
	back := &other{conns: make(chan net.Conn, 1000), done: make(chan struct{})}
	back.served = a
	var serving, clients sync.WaitGroup
	serving.Go(func() { _ = a.ServePlain(back) })
	defer serving.Wait()
	defer close(back.done)
	for i := range 16 {
		clients.Go(func() {
			c := a.dial(t)
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for j := range 200 {
				var all strings.Builder
				n := 1 + random.IntN(3)
				for k := range n {
					body := strings.Repeat("x", random.IntN(50))
					fmt.Fprintf(&all, "POST /%d.%d.%d. HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", i, j, k, len(body), body)
				}
				text := all.String()
				if random.IntN(3) > 0 {
					cut := random.IntN(len(text))
					_, _ = io.WriteString(c, text[:cut]) // an error shows below
					text = text[cut:]
				}
				_, _ = io.WriteString(c, text)
				for k := range n {
					r, err := http.ReadResponse(c.r, nil)
					if err != nil {
						t.Errorf("client %d, request %d.%d: %v", i, j, k, err)
						return
					}
					body, err := io.ReadAll(r.Body)
					if want := fmt.Sprintf("/%d.%d.%d.", i, j, k); err != nil || len(body) < 2 || !strings.HasPrefix(string(body[2:]), want) {
						t.Errorf("%s %q, %v, want %s", r.Status, body, err, want)
						return
					}
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { clients.Wait(); close(done) }()
	for over := false; !over; {
		a.HandOver(func(c net.Conn) bool { return b.take(t, c) })
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		a.HandOver(nil)
		b.HandOver(func(c net.Conn) bool { return back.take(t, c) })
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		b.HandOver(nil)
		select {
		case <-done:
			over = true
		default:
		}
	}
	if b.taken.Load() < 16 || back.taken.Load() < 16 {
		t.Errorf("moved %d times there and %d back: nothing was tried", b.taken.Load(), back.taken.Load())
	}
}
