package socketio_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/chaussette/chaussette/internal/siotest"
	"github.com/chaussette/chaussette/socketio"
)

// diary notes what happens.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, " ")
}

// OnConnect may wait for its own client, whose messages are read meanwhile.
func TestOnConnectAsks(t *testing.T) {
	io := newServer(t, nil)
	io.OnConnect(func(s *socketio.Socket) {
		name, err := socketio.Call[string](s.Context(), s, "who?")
		if err != nil {
			t.Error(err)
		}
		_ = s.Emit("hello", name)
	})
	c := connect(t, io, "/")
	c.Want(`421["who?"]`)
	c.Send(`431["me"]`)
	c.Want(`42["hello","me"]`)
}

// What happens to a socket happens in order, whoever does it: OnConnect before the events,
// also those that come while it runs, and OnDisconnect last. Who is refused has no events,
// also where they came together with its CONNECT.
func TestOrder(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(io *socketio.Server)
		want    string
	}{
		{"no middleware", func(*socketio.Server) {}, "connect 1 2 client namespace disconnect"},
		{"with middleware", func(io *socketio.Server) {
			io.Use(func(*socketio.Socket) error { return nil })
		}, "connect 1 2 client namespace disconnect"},
		{"refused", func(io *socketio.Server) {
			io.Use(func(*socketio.Socket) error { return errors.New("no") })
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d diary
				io := newServer(t, nil)
				defer io.Close()
				goOn := make(chan struct{})
				c.prepare(io)
				io.OnConnect(func(*socketio.Socket) { <-goOn; d.note("connect") })
				io.OnDisconnect(func(_ *socketio.Socket, r socketio.Reason) { d.note(string(r)) })
				io.On("e", func(what string) { d.note(what) })
				client := siotest.Open(t, io)
				client.Send("40", `42["e","1"]`, `42["e","2"]`)
				synctest.Wait()
				if d.String() != "" {
					t.Errorf("before OnConnect has returned: %s", &d)
				}
				client.Send("41")
				close(goOn)
				synctest.Wait()
				if d.String() != c.want {
					t.Errorf("got %s, want %s", &d, c.want)
				}
			})
		})
	}
}

// A socket that another goroutine throws out as soon as it is there is welcomed first, too.
func TestThrownOutAtOnce(t *testing.T) {
	io := newServer(t, nil)
	var mu sync.Mutex
	welcomed := map[socketio.SocketID]bool{}
	var left sync.WaitGroup
	io.OnConnect(func(s *socketio.Socket) {
		mu.Lock()
		defer mu.Unlock()
		welcomed[s.ID()] = true
	})
	io.OnDisconnect(func(s *socketio.Socket, _ socketio.Reason) {
		mu.Lock()
		defer mu.Unlock()
		if !welcomed[s.ID()] {
			t.Errorf("%s left before it came", s.ID())
		}
		left.Done()
	})
	stop := make(chan struct{})
	var thrower sync.WaitGroup
	thrower.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = io.DisconnectSockets(false)
			}
		}
	})
	for range 200 {
		left.Add(1)
		siotest.Open(t, io).Send("40")
	}
	left.Wait()
	close(stop)
	thrower.Wait()
}
