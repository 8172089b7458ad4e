// Package examples_test serves every Go example by its path, as its own comment says.
package examples_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/webtest"
	"github.com/chaussette/chaussette/ws/wstest"
)

func TestMain(m *testing.M) { os.Exit(webtest.Main(m)) }

// examples say how each is served, and what shows that it is.
var examples = map[string]struct {
	backend string
	check   func(t *testing.T, pool *webtest.Pool)
}{
	"hello": {"http", answers("/", "Hello, ")},
	"chat": {"socketio", func(t *testing.T, pool *webtest.Pool) {
		answers("/", "<html")(t, pool)
		answers("/socket.io/?EIO=4&transport=polling", `0{"sid":`)(t, pool)
	}},
	"acks":   {"socketio", answers("/socket.io/?EIO=4&transport=polling", `0{"sid":`)},
	"auth":   {"socketio", answers("/socket.io/?EIO=4&transport=polling", `0{"sid":`)},
	"binary": {"socketio", answers("/socket.io/?EIO=4&transport=polling", `0{"sid":`)},
	"namespaces": {"socketio", func(t *testing.T, pool *webtest.Pool) {
		c := wstest.Dial(t, address(pool), wstest.Handshake{Path: "/socket.io/?EIO=4&transport=websocket"})
		// What is sent to one namespace may overtake what is sent to another.
		await := func(wants ...string) {
			t.Helper()
			for len(wants) > 0 {
				f, err := c.Next()
				if err != nil {
					t.Fatalf("no %q: %v", wants, err)
				}
				wants = slices.DeleteFunc(wants, func(want string) bool { return strings.HasPrefix(string(f.Payload), want) })
			}
		}
		for _, packet := range []string{"40", "40/table-7,", "40/staff,", `42/table-7,["say","good evening"]`, `42/staff,["serve",7,"soup"]`} {
			c.Frames(wstest.F(wstest.Text, packet))
		}
		await(`42["tables",["/table-7"]]`, `42/table-7,["said"`, `42/table-7,["served","soup"]`)
		c.Frames(wstest.F(wstest.Text, "40/table,"))
		await(`44/table,{"message":"Invalid namespace"`)
		c.Bye()
	}},
	"websocket": {"websocket", func(t *testing.T, pool *webtest.Pool) {
		c := wstest.Dial(t, address(pool), wstest.Handshake{})
		c.Frames(wstest.F(wstest.Text, "one"))
		c.Expect(wstest.F(wstest.Text, "1: one"))
		c.Bye()
	}},
	"websocket-handler": {"ws4py", func(t *testing.T, pool *webtest.Pool) {
		c := wstest.Dial(t, address(pool), wstest.Handshake{Path: "/?key=secret"})
		c.Frames(wstest.F(wstest.Ping, "there?"))
		c.Expect(wstest.F(wstest.Pong, "there?"))
		c.Bye()
	}},
}

func address(pool *webtest.Pool) string { return pool.Addr.(*net.TCPAddr).String() }

func answers(path, want string) func(t *testing.T, pool *webtest.Pool) {
	return func(t *testing.T, pool *webtest.Pool) {
		t.Helper()
		if got := pool.Get(path); !strings.Contains(got, want) {
			t.Errorf("%s answers %q, without %q", path, got, want)
		}
	}
}

func TestExamples(t *testing.T) {
	folders, err := filepath.Glob("*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range folders {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// A package main is a program, with a test of its own.
		if name := filepath.Dir(file); examples[name].check == nil && !strings.Contains(string(text), "\npackage main\n") &&
			!strings.HasSuffix(file, "_test.go") {
			t.Errorf("nobody tries the example %s", name)
		}
	}
	cache := []string{"CHAUSSETTE_CACHE=" + t.TempDir()}
	for name, e := range examples {
		t.Run(name, func(t *testing.T) {
			program := webtest.Build(t, webtest.Chaussette)
			e.check(t, webtest.StartProgram(t, webtest.Circus, 1, program, cache, "--backend", e.backend, "./"+name+".App"))
		})
	}
}
