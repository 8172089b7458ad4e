package python_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chaussette/chaussette/app/python"
)

// The child is killed while it is busy: every client gets an answer, or a connection that
// ends, and the next child serves.
func TestKillUnderLoad(t *testing.T) {
	for _, mode := range []python.Mode{python.Serial, python.Threads, python.Gevent} {
		t.Run(mode.String(), func(t *testing.T) {
			s := serve(t, "apps:app", python.Options{Mode: mode, ChildRestart: true})
			first, _ := strconv.Atoi(pid(t, s))
			var all sync.WaitGroup
			var served, failed atomic.Int64
			stop := make(chan struct{})
			for i := range 8 {
				all.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
						path, body := "/pid", io.Reader(nil)
						switch i % 3 {
						case 1:
							path = "/stream?1000000&length"
						case 2:
							path, body = "/read?all", bytes.NewReader(make([]byte, 1_000_000))
						}
						req, _ := http.NewRequestWithContext(ctx, "POST", s.url+path, body)
						resp, err := s.client.Do(req)
						if err == nil {
							_, err = io.Copy(io.Discard, resp.Body)
							_ = resp.Body.Close()
						}
						switch {
						case ctx.Err() != nil:
							t.Errorf("%s: no answer in 20 seconds", path)
						case err != nil || resp.StatusCode != 200:
							failed.Add(1)
						default:
							served.Add(1)
						}
						cancel()
					}
				})
			}
			eventually(t, func() bool { return served.Load() > 50 })
			if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			before := served.Load()
			eventually(t, func() bool {
				return strings.Contains(s.log.String(), "the Python child ended") && served.Load() > before+50
			})
			close(stop)
			all.Wait()
			if failed.Load() == 0 {
				t.Error("nobody was there when the child was killed")
			}
		})
	}
}

// A gigabyte goes through, whoever writes it, and stays in nobody's memory.
func TestGigabyte(t *testing.T) {
	for how, mode := range map[string]python.Mode{"": python.Serial, "&length": python.Gevent} {
		t.Run(mode.String()+how, func(t *testing.T) {
			s := serve(t, "apps:app", python.Options{Mode: mode})
			child := pid(t, s)
			resp, err := s.client.Get(s.url + "/stream?1000000000" + how)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if n, err := io.Copy(io.Discard, resp.Body); n != 1_000_000_000 || err != nil {
				t.Errorf("%d bytes, %v", n, err)
			}
			if size := resident(t, child); size > 80<<20 {
				t.Errorf("the child holds %d MiB", size>>20)
			}
		})
	}
}

// A connection that was lent is given back, however its request ends.
func TestLendLeaksNothing(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			s := serve(t, "apps:app", python.Options{Mode: mode})
			child := pid(t, s)
			open := func() int {
				fds, err := os.ReadDir("/proc/" + child + "/fd")
				if err != nil {
					t.Fatal(err)
				}
				return len(fds)
			}
			do := func(leave bool, method, path string, body io.Reader) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				req, _ := http.NewRequestWithContext(ctx, method, s.url+path, body)
				resp, err := s.client.Do(req)
				if err != nil {
					if !leave {
						t.Error(err)
					}
					return
				}
				defer resp.Body.Close()
				if leave {
					_, _ = io.CopyN(io.Discard, resp.Body, 1000)
					return
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					t.Error(err)
				}
			}
			round := func() {
				for range 5 {
					do(false, "GET", "/stream?1000000&length", nil)
					do(false, "POST", "/read?all", bytes.NewReader(make([]byte, 1_000_000)))
					do(true, "GET", "/stream?50000000&length", nil)
					do(true, "POST", "/pid", bytes.NewReader(make([]byte, 1_000_000)))
				}
				s.want("/pid", 200, child)
			}
			round() // what is opened once
			want := open()
			round()
			deadline := time.Now().Add(20 * time.Second)
			for open() > want {
				if time.Now().After(deadline) {
					t.Fatalf("%d descriptors are open, were %d", open(), want)
				}
				s.want("/pid", 200, child) // an abort is read with the next request at the latest
			}
			eventually(t, func() bool { return s.InFlight() == 0 }) // the worker hears of it last
		})
	}
}

// A request too many is refused, and those before it are served.
func TestPending(t *testing.T) {
	for _, mode := range []python.Mode{python.Serial, python.Threads} { // on a loop, and not
		t.Run(mode.String(), func(t *testing.T) {
			s := serve(t, "apps:app", python.Options{Mode: mode, Threads: 1, Pending: 2})
			var busy sync.WaitGroup
			for range 2 {
				busy.Go(func() { s.want("/sleep?1", 200, "slept") })
			}
			for s.InFlight() < 2 {
				time.Sleep(time.Millisecond)
			}
			if status, _, header := s.get("/pid"); status != 503 || header.Get("Retry-After") == "" {
				t.Errorf("%d %v", status, header)
			}
			busy.Wait()
			s.want("/sleep?0", 200, "slept")
		})
	}
}
