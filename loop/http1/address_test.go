//go:build linux

package http1_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/chaussette/chaussette/listener"
	"github.com/chaussette/chaussette/loop/http1"
)

const patience = 20 * time.Second

// Addresses are written as net/http writes them.
func TestAddresses(t *testing.T) {
	for _, c := range []struct{ listen, dial string }{
		{"127.0.0.1:0", "127.0.0.1"},
		{"[::1]:0", "::1"},
		{"[::]:0", "127.0.0.1"}, // an IPv4 address in an IPv6 socket
		{"unix:" + t.TempDir() + "/s", ""},
	} {
		t.Run(c.listen, func(t *testing.T) {
			ls, err := listener.Open(c.listen, nil)
			if err != nil {
				t.Fatal(err)
			}
			s, err := http1.New(&http1.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, r.RemoteAddr, " ", r.Context().Value(http.LocalAddrContextKey))
			})})
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- s.Serve(ls[0]) }()
			defer func() {
				_ = ls[0].Close()
				if err := <-served; err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			to := ls[0].Addr().String()
			if a, ok := ls[0].Addr().(*net.TCPAddr); ok {
				to = (&net.TCPAddr{IP: net.ParseIP(c.dial), Port: a.Port}).String()
			}
			nc, err := net.Dial(ls[0].Addr().Network(), to)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(patience))
			fmt.Fprint(nc, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			r, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r.Body)
			want := nc.LocalAddr().String() + " " + nc.RemoteAddr().String()
			if c.dial == "" {
				want = "@ " + to
			}
			if err != nil || string(body) != want {
				t.Errorf("%q, %v, want %q", body, err, want)
			}
		})
	}
}
