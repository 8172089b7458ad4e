//go:build linux

package epoll

import (
	"net"
	"testing"
)

// Addresses are written as net/http writes them.
func TestRemoteAddr(t *testing.T) {
	tests := []struct{ network, listen, dial string }{
		{"tcp4", "127.0.0.1:0", "127.0.0.1"},
		{"tcp6", "[::1]:0", "::1"},
		{"tcp", ":0", "127.0.0.1"}, // an IPv4 address in an IPv6 socket
		{"unix", t.TempDir() + "/s", ""},
	}
	for _, test := range tests {
		t.Run(test.network+" "+test.dial, func(t *testing.T) {
			l, err := net.Listen(test.network, test.listen)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			to := l.Addr().String()
			if a, ok := l.Addr().(*net.TCPAddr); ok {
				to = (&net.TCPAddr{IP: net.ParseIP(test.dial), Port: a.Port}).String()
			}
			client, err := net.Dial(l.Addr().Network(), to)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			raw, _ := bare(server)
			fd, err := takeOut(raw)
			if err != nil {
				t.Fatal(err)
			}
			got := remoteAddr(fd)
			if want := server.RemoteAddr().String(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			fds, err := netConn(fd)
			if err != nil {
				t.Fatal(err)
			}
			fds.Close()
			if got := remoteAddr(-1); got != "" {
				t.Errorf("of a closed socket: %q", got)
			}
		})
	}
}
