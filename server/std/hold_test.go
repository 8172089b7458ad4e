package std_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/server/std"
)

// A socket on which nobody can wait for so much is read as it comes.
func TestHoldOnUnixSocket(t *testing.T) {
	path := t.TempDir() + "/socket"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan bool, 1)
	e := std.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- r.Body.(interface{ Held() bool }).Held()
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	}), &std.Options{Hold: 1 << 20})
	ended := make(chan error, 1)
	go func() { ended <- e.Serve(l) }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	defer func() {
		transport.CloseIdleConnections()
		_ = e.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	from, to := io.Pipe()
	go func() {
		_, _ = io.WriteString(to, "begins")
		if <-entered { // before the body is whole
			t.Error("a Unix socket is waited for")
		}
		_, _ = io.WriteString(to, strings.Repeat("x", 100_000-len("begins")))
		_ = to.Close()
	}()
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://x/", from)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = 100_000
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "100000 <nil>" {
		t.Errorf("%q, %v", body, err)
	}
}
