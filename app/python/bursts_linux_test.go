package python_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/app/python"
)

// bursts runs test on responses of testdata/bursts.py: in each mode, on both engines, with a length
// and in chunks, whose connection is lent, and granted.
func bursts(t *testing.T, count, size int, test func(t *testing.T, s *served, query url.Values)) {
	for _, mode := range []python.Mode{python.Serial, python.Threads, python.Gevent, python.Eventlet} {
		for _, engine := range []string{"std", "loop"} {
			t.Run(mode.String()+"/"+engine, func(t *testing.T) {
				t.Parallel()
				s := serve(t, "bursts:app", python.Options{Mode: mode, Threads: 2})
				if engine == "loop" {
					onLoop(t, s)
				}
				for _, length := range []string{"", fmt.Sprint((count + 1) * size)} {
					query := url.Values{"chunks": {fmt.Sprint(count)}, "size": {fmt.Sprint(size)}}
					if length != "" {
						query.Set("length", length)
					}
					for range 3 { // habits need one
						test(t, s, query)
					}
				}
			})
		}
	}
}

// chunks is what a client gets of the chunks that come quickly.
func chunks(count, size int) string {
	var b strings.Builder
	for i := range count {
		b.WriteString(strings.Repeat(string(rune('A'+i)), size))
	}
	return b.String()
}

// testBurst wants all the chunks that come quickly of a response, before the app goes on.
func testBurst(t *testing.T, resp *http.Response, count, size int, query url.Values) {
	t.Helper()
	defer resp.Body.Close()
	got := make([]byte, count*size)
	if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != chunks(count, size) {
		t.Fatalf("%v: %v", query, err)
	}
	if err := os.WriteFile(query.Get("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(resp.Body)
	if err != nil || string(rest) != strings.Repeat("z", size) {
		t.Fatalf("%v: %d bytes more, %v", query, len(rest), err)
	}
}

// No chunk waits for the next one, of an app that was quick before.
func TestBurstWaitsForNoApp(t *testing.T) {
	const count, size = 5, 40_000
	bursts(t, count, size, func(t *testing.T, s *served, query url.Values) {
		for _, then := range []string{"wait", "spin"} {
			query.Set("then", then)
			query.Set("file", filepath.Join(t.TempDir(), "go on"))
			resp, err := s.client.Get(s.url + "/?" + query.Encode())
			if err != nil {
				t.Fatal(err)
			}
			testBurst(t, resp, count, size, query)
		}
	})
}

// What an app made before it failed is sent.
func TestBurstOfAnAppThatFails(t *testing.T) {
	const count, size = 5, 40_000
	bursts(t, count, size, func(t *testing.T, s *served, query url.Values) {
		for _, then := range []string{"fail", "text"} {
			query.Set("then", then)
			resp, err := s.client.Get(s.url + "/?" + query.Encode())
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err == nil || string(got) != chunks(count, size) {
				t.Fatalf("%v: %d bytes, %v", query, len(got), err)
			}
		}
		query.Set("then", "end")
		resp, err := s.client.Get(s.url + "/?" + query.Encode())
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(got) != chunks(count, size)+strings.Repeat("z", size) {
			t.Fatalf("%v: %d bytes, %v", query, len(got), err)
		}
	})
}

// A client that takes less than a burst gets all of it, in order, whether the app goes on or not.
func TestBurstToASlowClient(t *testing.T) {
	const count, size = 12, 1_000_000
	bursts(t, count, size, func(t *testing.T, s *served, query url.Values) {
		for _, then := range []string{"wait", "end"} {
			query.Set("then", then)
			query.Set("file", filepath.Join(t.TempDir(), "go on"))
			address, _ := url.Parse(s.url)
			c, err := net.Dial("tcp", address.Host)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(30 * time.Second))
			_ = c.(*net.TCPConn).SetReadBuffer(256 << 10)
			_, _ = fmt.Fprintf(c, "GET /?%s HTTP/1.1\r\nHost: a\r\n\r\n", query.Encode())
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			testBurst(t, resp, count, size, query)
			_ = c.Close()
		}
	})
}
