package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/server/limits"
)

// holdLimit is the longest body that is held in these tests.
const holdLimit = 1 << 20

// upload is a request with a body that says where each of its bytes belongs.
func upload(size int, fields string) (head string, body []byte) {
	body = make([]byte, size)
	for i := range body {
		body[i] = byte(i*7 + i>>8)
	}
	return fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n", size, fields, size), body
}

// isHeld is what the engine says of a request's body.
func isHeld(r *http.Request) bool { return r.Body.(interface{ Held() bool }).Held() }

// lowWater is the low-water mark of a connection (SO_RCVLOWAT), which an engine leaves at 1.
func lowWater(t *testing.T, c net.Conn) int {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	mark := 0
	if err := raw.Control(func(fd uintptr) {
		mark, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT)
	}); err != nil {
		t.Fatal(err)
	}
	return mark
}

// awaited returns when the engine waits for the body that c sends: its end of the connection, which
// is in this process, has a mark.
func (c *client) awaited() {
	c.t.Helper()
	port := c.LocalAddr().(*net.TCPAddr).Port
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			c.t.Fatal(err)
		}
		for _, f := range fds {
			fd, _ := strconv.Atoi(f.Name())
			peer, err := unix.Getpeername(fd) // which fails where fd is closed meanwhile, or is no socket
			if peer, ok := peer.(*unix.SockaddrInet4); !ok || err != nil || peer.Port != port {
				continue
			}
			if mark, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT); mark > 1 {
				return
			}
		}
	}
	c.t.Fatal("the engine does not wait for the body")
}

// systemTests are those of what this system can do.
func (e engine) systemTests() map[string]func(*testing.T) {
	return map[string]func(*testing.T){"HeldBody": e.testHeldBody, "HeldBodyDrain": e.testHeldBodyDrain}
}

// testHeldBody: an app is called when a body has come whole, which is left with the system.
func (e engine) testHeldBody(t *testing.T) {
	type call struct {
		held bool
		body []byte
		err  error
	}
	calls, entered := make(chan call, 100), make(chan struct{}, 100)
	app := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hijack" {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", lowWater(t, c))
			return
		}
		entered <- struct{}{}
		x := call{held: isHeld(r)}
		if x.body, x.err = io.ReadAll(r.Body); r.ContentLength >= 0 && r.ContentLength != int64(len(x.body)) && x.err == nil {
			t.Errorf("Content-Length %d of %d bytes", r.ContentLength, len(x.body))
		}
		calls <- x
		if x.err != nil {
			http.Error(w, x.err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, len(x.body))
	}
	// want waits for the app's call.
	want := func(t *testing.T, held bool, body []byte) {
		t.Helper()
		<-entered
		if x := <-calls; x.held != held || x.err != nil || !bytes.Equal(x.body, body) {
			t.Errorf("held %t, %d bytes, %v; want %t, %d", x.held, len(x.body), x.err, held, len(body))
		}
	}
	answer := func(t *testing.T, c *client, size int) {
		t.Helper()
		if r, body := c.response("POST"); r.StatusCode != 200 || body != fmt.Sprint(size) {
			t.Errorf("%d %q", r.StatusCode, body)
		}
	}
	// unchanged: the next request on the connection finds it as any.
	unchanged := func(t *testing.T, c *client) {
		t.Helper()
		c.send(get("/hijack"))
		if _, mark := c.response("GET"); mark != "1" {
			t.Errorf("the low-water mark is left at %s", mark)
		}
	}
	uncalled := func(t *testing.T) {
		t.Helper()
		if len(entered) > 0 {
			t.Error("the app was called before its request was whole")
		}
	}
	// another has the engine do something else meanwhile.
	another := func(t *testing.T, s *served) {
		t.Helper()
		c := s.dial(t)
		c.send("GET /hijack HTTP/1.1\r\nHost: x\r\n\r\n")
		c.response("GET")
	}
	s := e.serve(t, app, Options{Hold: holdLimit})

	t.Run("many on one connection", func(t *testing.T) {
		c := s.dial(t)
		held := 0
		for _, size := range []int{holdLimit, 64<<10 + 1, 100_000, 500_000, holdLimit, holdLimit} {
			head, body := upload(size, "")
			c.send(head + string(body))
			<-entered
			// Whether it came faster than the room for it grew is the system's to say.
			x := <-calls
			if x.err != nil || !bytes.Equal(x.body, body) {
				t.Errorf("%d bytes: %d, %v", size, len(x.body), x.err)
			}
			if x.held {
				held++
			}
			answer(t, c, size)
		}
		if held == 0 {
			t.Error("none was held")
		}
		unchanged(t, c)
	})
	t.Run("in parts", func(t *testing.T) {
		c := s.dial(t)
		head, body := upload(100_000, "")
		c.send(head)
		another(t, s)
		for _, part := range [][]byte{body[:1], body[1:40_000], body[40_000:99_999]} {
			c.send(string(part))
			c.awaited()
		}
		uncalled(t)
		c.send(string(body[99_999:]))
		want(t, true, body)
		answer(t, c, 100_000)
		unchanged(t, c)
	})
	t.Run("the next requests behind it", func(t *testing.T) {
		c := s.dial(t)
		head, body := upload(100_000, "")
		c.send(head + string(body[:50_000]))
		c.awaited()
		c.send(string(body[50_000:]) + head + string(body) + get("/hijack"))
		want(t, true, body)
		answer(t, c, 100_000)
		<-entered
		if x := <-calls; x.err != nil || !bytes.Equal(x.body, body) { // some of it may have been read with what came before
			t.Errorf("the second one: %d bytes, %v", len(x.body), x.err)
		}
		answer(t, c, 100_000)
		if _, mark := c.response("GET"); mark != "1" {
			t.Errorf("the low-water mark is left at %s", mark)
		}
	})
	t.Run("100-continue", func(t *testing.T) {
		c := s.dial(t)
		head, body := upload(100_000, "Expect: 100-continue\r\n")
		c.send(head)
		if got := c.answer("POST"); got != `100 none ""` {
			t.Fatalf("got %s", got)
		}
		uncalled(t)
		c.send(string(body))
		want(t, true, body)
		answer(t, c, 100_000)
		unchanged(t, c)
	})
	t.Run("half of the connection is closed behind it", func(t *testing.T) {
		c := s.dial(t)
		head, body := upload(100_000, "")
		c.send(head + string(body))
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		<-entered
		if x := <-calls; x.err != nil || !bytes.Equal(x.body, body) {
			t.Errorf("%d bytes, %v", len(x.body), x.err)
		}
		answer(t, c, 100_000)
	})
	for name, leave := range map[string]func(*net.TCPConn){
		"the client leaves":          func(c *net.TCPConn) { _ = c.Close() },
		"the client ends its side":   func(c *net.TCPConn) { _ = c.CloseWrite() },
		"the client breaks it off":   func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
		"the client leaves too late": func(c *net.TCPConn) { _, _ = c.Write(make([]byte, 70_000)); _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			c := s.dial(t)
			head, body := upload(200_000, "")
			c.send(head + string(body[:100_000]))
			c.awaited()
			uncalled(t)
			leave(c.Conn.(*net.TCPConn))
			<-entered
			if x := <-calls; x.held || x.err == nil {
				t.Errorf("held %t, %d bytes, %v", x.held, len(x.body), x.err)
			}
		})
	}
	t.Run("over the limit", func(t *testing.T) {
		c := s.dial(t)
		head, body := upload(holdLimit+1, "")
		c.send(head + string(body[:10]))
		<-entered // at once
		c.send(string(body[10:]))
		if x := <-calls; x.held || x.err != nil || !bytes.Equal(x.body, body) {
			t.Errorf("held %t, %d bytes, %v", x.held, len(x.body), x.err)
		}
		answer(t, c, holdLimit+1)
	})
	t.Run("in chunks", func(t *testing.T) {
		c := s.dial(t)
		body := bytes.Repeat([]byte("x"), 100_000)
		c.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
		<-entered
		c.send(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body))
		if x := <-calls; x.held || x.err != nil || !bytes.Equal(x.body, body) {
			t.Errorf("held %t, %d bytes, %v", x.held, len(x.body), x.err)
		}
		_, _ = c.response("POST")
	})
	t.Run("not at all", func(t *testing.T) {
		s := e.serve(t, app, Options{})
		c := s.dial(t)
		head, body := upload(100_000, "")
		c.send(head)
		<-entered
		c.send(string(body))
		if x := <-calls; x.held || x.err != nil || !bytes.Equal(x.body, body) {
			t.Errorf("held %t, %d bytes, %v", x.held, len(x.body), x.err)
		}
		answer(t, c, 100_000)
	})
	t.Run("too many at once", func(t *testing.T) {
		s := e.serve(t, app, Options{Hold: holdLimit, HoldTotal: 250_000})
		head, body := upload(100_000, "")
		for range 3 { // each gives back what it has taken
			var clients []*client
			for range 2 {
				c := s.dial(t)
				c.send(head + string(body[:50_000]))
				c.awaited()
				clients = append(clients, c)
			}
			uncalled(t)
			third := s.dial(t)
			third.send(head)
			<-entered // at once
			third.send(string(body))
			if x := <-calls; x.held || x.err != nil || !bytes.Equal(x.body, body) {
				t.Errorf("one too many: held %t, %d bytes, %v", x.held, len(x.body), x.err)
			}
			answer(t, third, 100_000)
			for _, c := range clients {
				c.send(string(body[50_000:]))
				want(t, true, body)
				answer(t, c, 100_000)
				// It has returned when the next request is served.
				another(t, s)
				unchanged(t, c)
			}
		}
		// So does one whose client leaves, and one that is too slow for it: see below.
		for range 3 {
			c := s.dial(t)
			c.send(head + string(body[:50_000]))
			c.awaited()
			_ = c.Close()
			<-entered
			if x := <-calls; x.held || x.err == nil {
				t.Errorf("held %t, %v", x.held, x.err)
			}
		}
		c := s.dial(t)
		c.send(head + string(body[:50_000]))
		c.awaited()
		uncalled(t)
		c.send(string(body[50_000:]))
		want(t, true, body)
		answer(t, c, 100_000)
	})

	// Who is too slow is waited for by the app.
	short := e.serve(t, app, Options{Hold: holdLimit, Limits: limits.Limits{BodyTimeout: time.Second}})
	t.Run("too slow", func(t *testing.T) {
		c := short.dial(t)
		head, body := upload(200_000, "")
		c.send(head + string(body[:100_000]))
		<-entered
		c.send(string(body[100_000:]))
		if x := <-calls; x.held || x.err != nil || !bytes.Equal(x.body, body) {
			t.Errorf("held %t, %d bytes, %v", x.held, len(x.body), x.err)
		}
		answer(t, c, 200_000)
		unchanged(t, c)
	})
	t.Run("stops", func(t *testing.T) {
		c := short.dial(t)
		head, body := upload(200_000, "")
		start := time.Now()
		c.send(head + string(body[:100_000]))
		<-entered
		if x := <-calls; x.held || !errors.Is(x.err, os.ErrDeadlineExceeded) || len(x.body) > 100_000 || !bytes.HasPrefix(body, x.body) {
			t.Errorf("held %t, %d bytes, %v", x.held, len(x.body), x.err)
		}
		if took := time.Since(start); took < 900*time.Millisecond || took > 3*time.Second {
			t.Errorf("after %v", took)
		}
		if r, _ := c.response("POST"); r.StatusCode != http.StatusRequestTimeout {
			t.Errorf("status %d", r.StatusCode)
		}
	})
	t.Run("without a timeout", func(t *testing.T) {
		s := e.serve(t, app, Options{Hold: holdLimit, Limits: limits.Limits{BodyTimeout: -1}})
		c := s.dial(t)
		head, body := upload(100_000, "")
		for range 2 {
			c.send(head + string(body[:50_000]))
			c.awaited()
			c.send(string(body[50_000:]))
			want(t, true, body)
			answer(t, c, 100_000)
		}
		unchanged(t, c)
	})
}

// testHeldBodyDrain: a drain waits for a body that is held, and an end does not.
func (e engine) testHeldBodyDrain(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	}
	s := e.serve(t, app, Options{Hold: holdLimit})
	c, left := s.dial(t), s.dial(t)
	head, body := upload(100_000, "")
	for _, c := range []*client{c, left} {
		c.send(head + string(body[:50_000]))
	}
	for s.Connections() < 2 {
		time.Sleep(time.Millisecond)
	}
	s.stop()
	s.StartDraining()
	c.send(string(body[50_000:]))
	if r, body := c.response("POST"); r.StatusCode != 200 || body != "100000 <nil>" {
		t.Errorf("%d %q", r.StatusCode, body)
	}
	// The other one is cut when the test ends.
}
