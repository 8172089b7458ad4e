package socketio_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chaussette/chaussette/internal/siotest"
	"github.com/chaussette/chaussette/socketio"
)

// What an admin UI hears of rooms comes in its order, whoever has joined.
func TestOnJoin(t *testing.T) {
	io := newServer(t, nil)
	var mu sync.Mutex
	var log []string
	note := func(what string) func(s *socketio.Socket, r socketio.Room) {
		return func(s *socketio.Socket, r socketio.Room) {
			if r == socketio.Room(s.ID()) {
				r = "its own"
			}
			mu.Lock()
			defer mu.Unlock()
			log = append(log, what+" "+string(r))
		}
	}
	io.OnJoin(note("joins"))
	io.OnLeave(note("leaves"))
	left := make(chan struct{})
	io.OnDisconnect(func(*socketio.Socket, socketio.Reason) { close(left) })
	io.On("go", func(s *socketio.Socket) {
		s.Join("a", "b")
		s.Join("a") // where it is
		s.Leave("a", "c")
	})
	c := connect(t, io, "/")
	c.Send(`420["go"]`)
	c.Want("430[]")
	if err := io.To("b").SocketsJoin("d"); err != nil {
		t.Error(err)
	}
	if err := io.To("b").SocketsLeave("d"); err != nil {
		t.Error(err)
	}
	c.Send("41")
	<-left
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(log, ", "); got != "joins its own, joins a, joins b, leaves a, joins d, leaves d, leaves b, leaves its own" {
		t.Error(got)
	}
}

// Every namespace is told of once, before anybody is in it.
func TestOnNamespace(t *testing.T) {
	io := newServer(t, nil)
	io.Of("/before")
	io.OfMatch(func(name string) bool { return strings.HasPrefix(name, "/team-") })
	var names []string
	connected := make(chan string, 1)
	io.OnNamespace(func(n *socketio.Namespace) {
		names = append(names, n.Name())
		n.OnConnect(func(s *socketio.Socket) { connected <- s.Namespace().Name() })
	})
	io.Of("/after")
	io.Of("/after")
	for _, name := range []string{"/", "/before", "/after", "/team-x"} {
		c := connect(t, io, name)
		if got := <-connected; got != name {
			t.Errorf("%s, want %s", got, name)
		}
		if name == "/team-x" {
			var there []string
			for _, n := range io.Namespaces() {
				there = append(there, n.Name())
			}
			if !slices.Equal(there, []string{"/", "/after", "/before", "/team-x"}) {
				t.Error(there)
			}
		}
		c.Send("1")
	}
	slices.Sort(names)
	if got := fmt.Sprint(names); got != "[/ /* /after /before]" {
		t.Error(got)
	}
}

// A namespace of a pattern is there for a visit, and no longer.
func TestVisit(t *testing.T) {
	io := newServer(t, nil)
	io.OfMatch(func(name string) bool { return name == "/team" })
	for name, want := range map[string]bool{"/": true, "/team": true, "/nowhere": false} {
		visited := false
		if got := io.Visit(name, func(n *socketio.Namespace) { visited = n.Name() == name }); got != want || visited != want {
			t.Errorf("%s: %t, visited %t", name, got, visited)
		}
	}
	if n := len(io.Namespaces()); n != 1 {
		t.Errorf("%d namespaces", n)
	}
}

// A middleware can take a password away, and data that changes is heard of.
func TestForgetAuthAndOnSetData(t *testing.T) {
	io := newServer(t, nil)
	io.Use(func(s *socketio.Socket) error { s.ForgetAuth(); return nil })
	heard := make(chan any, 1)
	io.OnSetData(func(s *socketio.Socket) { heard <- s.Data() })
	io.On("set", func(s *socketio.Socket) { s.SetData(7) })
	c := siotest.Open(t, io)
	c.Send(`40{"password":"secret"}`)
	c.Next()
	c.Send(`42["set"]`)
	if v := <-heard; v != 7 {
		t.Error(v)
	}
	found, err := io.FetchSockets(t.Context())
	if err != nil || len(found) != 1 || string(found[0].Handshake.Auth) != "{}" {
		t.Error(found, err)
	}
}

func TestOnClose(t *testing.T) {
	io := socketio.NewServer(nil)
	n := 0
	io.OnClose(func() { n++ })
	if err := io.Close(); err != nil || n != 1 {
		t.Error(n, err)
	}
}
