package python_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/chaussette/chaussette/app/python"
)

var grantModes = []python.Mode{python.Serial, python.Threads, python.Gevent, python.Eventlet}

// A head is the same whether the worker makes it or the child.
func TestGrantedHeads(t *testing.T) {
	heads := map[string]bool{ // whether the child makes it
		"plain": true, "reason": true, "twice": true, "subclass": true, "no reason": false, "blank reason": false, "close": false,
		"keep-alive": false, "date": false, "coding": false, "upgrade": false, "line break": false, "bare line feed": false,
		"line break in the status": false, "name": false, "empty name": false, "no latin-1": false, "no str": false,
		"no pair": false, "same length": false, "other length": false,
	}
	for _, mode := range grantModes {
		t.Run(mode.String(), func(t *testing.T) {
			s := onLoop(t, serve(t, "grants:app", python.Options{Mode: mode, Threads: 2}))
			for head, childs := range heads {
				path := "/" + url.PathEscape(head) + "?head=" + url.QueryEscape(head)
				before := s.Granted()
				var first string
				for i := range 4 {
					status, body, header := s.get(path)
					if status == http.StatusBadGateway {
						t.Errorf("%s: the app is said to have crashed", head)
					}
					if header.Get("Date") == "" {
						t.Errorf("%s: no Date", head)
					}
					if head != "date" {
						header.Del("Date")
					}
					got := fmt.Sprintf("%d %d %d %v", status, len(body), strings.Count(body, "x"), header)
					if i == 0 {
						first = got
					}
					if got != first {
						t.Errorf("%s: %s, and before %s", head, got, first)
					}
				}
				eventually(t, func() bool { return s.InFlight() == 0 }) // the worker may hear of it last
				if n := s.Granted() - before; childs && n < 3 || !childs && n > 0 {
					t.Errorf("%s: %d of 4 heads were the child's", head, n)
				}
			}
		})
	}
}

// A guess that turns out wrong costs nothing but time, and no descriptor stays behind.
func TestGrantedInVain(t *testing.T) {
	for _, mode := range grantModes {
		t.Run(mode.String(), func(t *testing.T) {
			s := onLoop(t, serve(t, "grants:app", python.Options{Mode: mode, Threads: 2}))
			open := func() int { return len(descriptors(t, s)) }
			s.get("/")
			s.get("/")
			before := open()
			for i := range 30 {
				size := 200_000
				if i%3 > 0 {
					size = i
				}
				if status, body, _ := s.get("/?size=" + strconv.Itoa(size)); status != 200 || len(body) != size {
					t.Errorf("%d bytes: %d, %d bytes", size, status, len(body))
				}
				if status, body, _ := s.get("/?size=200000&length=200001"); status != 200 || !strings.HasSuffix(body, "(unexpected EOF)") {
					t.Errorf("a response that is too short: %d, %d bytes", status, len(body))
				}
				if status, body, _ := s.get("/?size=200000&length=199999"); status != 200 || len(body) != 199_999 {
					t.Errorf("a response that is too long: %d, %d bytes", status, len(body))
				}
				if status, body, _ := s.do("HEAD", "/", nil); status != 200 || len(body) != 0 {
					t.Errorf("HEAD: %d, %d bytes", status, len(body))
				}
			}
			if s.Granted() < 30 {
				t.Errorf("%d were granted", s.Granted())
			}
			eventually(t, func() bool { return open() <= before })
		})
	}
}

// A child that has no descriptor left for a connection does without, and is granted the next one.
func TestGrantedToAChildWithoutDescriptors(t *testing.T) {
	for _, mode := range grantModes {
		t.Run(mode.String(), func(t *testing.T) {
			s := onLoop(t, serve(t, "grants:app", python.Options{Mode: mode, Threads: 2}))
			get := func(query string) {
				t.Helper()
				if status, body, _ := s.get("/" + query); status != 200 || len(body) != 200_000 {
					t.Errorf("%q: %d, %d bytes", query, status, len(body))
				}
				eventually(t, func() bool { return s.InFlight() == 0 })
			}
			get("")
			get("?descriptors=3")
			before := s.Granted()
			for range 3 {
				get("")
			}
			if n := s.Granted() - before; n != 0 {
				t.Errorf("%d were granted without a descriptor", n)
			}
			get("?descriptors=1024")
			get("")
			get("")
			if s.Granted() == before {
				t.Error("none was granted afterwards")
			}
		})
	}
}

// descriptors are those of the child of s.
func descriptors(t *testing.T, s *served) []os.DirEntry {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.ChildPID()))
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// Clients that leave before their response begins, and in its middle.
func TestGrantedToThoseWhoLeave(t *testing.T) {
	for _, mode := range grantModes {
		t.Run(mode.String(), func(t *testing.T) {
			s := onLoop(t, serve(t, "grants:app", python.Options{Mode: mode, Threads: 4}))
			s.get("/")
			s.get("/")
			before := len(descriptors(t, s))
			var all sync.WaitGroup
			for i := range 8 {
				all.Go(func() {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					query := "/?before=0.1"
					if i%2 > 0 {
						query = "/?within=0.05&size=1000000"
					}
					req, _ := http.NewRequestWithContext(ctx, "GET", s.url+query, nil)
					if i%2 == 0 {
						all.Go(func() {
							eventually(t, func() bool { return s.InFlight() > 0 || ctx.Err() != nil })
							cancel()
						})
					}
					resp, err := s.client.Do(req)
					if err != nil {
						return
					}
					_, _ = io.CopyN(io.Discard, resp.Body, 100_000)
					_ = resp.Body.Close()
				})
			}
			all.Wait()
			eventually(t, func() bool { return s.InFlight() == 0 })
			if status, body, _ := s.get("/"); status != 200 || len(body) != 200_000 {
				t.Errorf("%d, %d bytes", status, len(body))
			}
			eventually(t, func() bool { return len(descriptors(t, s)) <= before })
		})
	}
}

// A child that crashes before it has begun with a response leaves the client a 502, and one
// that has begun a broken connection.
func TestGrantedToACrash(t *testing.T) {
	s := onLoop(t, serve(t, "grants:app", python.Options{Mode: python.Threads, Threads: 4, ChildRestart: true}))
	for _, c := range []struct {
		name, query string
		begun       bool
	}{{"before", "/?before=60", false}, {"within", "/?within=60", true}} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			s.get("/")
			s.get("/")
			eventually(t, func() bool { return s.InFlight() == 0 }) // the worker hears of it last
			req, err := http.NewRequestWithContext(t.Context(), "GET", s.url+c.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			type result struct {
				status int
				err    error
			}
			done, chunk := make(chan result, 1), make(chan struct{})
			go func() {
				resp, err := s.client.Do(req)
				if err != nil {
					done <- result{0, err}
					return
				}
				if c.begun {
					// The first chunk comes whole, whenever the next one is made.
					if _, err := io.CopyN(io.Discard, resp.Body, 64<<10); err != nil {
						t.Error(err)
					}
					close(chunk)
				}
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				done <- result{resp.StatusCode, err}
			}()
			eventually(t, func() bool { return s.InFlight() == 1 })
			if c.begun {
				await(t, "the first chunk", chunk)
			}
			child := s.ChildPID()
			if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			got := await(t, "the end of the response", done)
			if c.begun && (got.status != 200 || !errors.Is(got.err, io.ErrUnexpectedEOF)) || !c.begun && (got.status != 502 || got.err != nil) {
				t.Errorf("got %+v", got)
			}
			eventually(t, func() bool { return s.ChildPID() != child && s.ChildPID() != 0 })
		})
	}
}
