package listener_test

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/listener"
)

func TestParseAddress(t *testing.T) {
	for _, test := range []struct {
		in, want string // want: as the address writes itself
	}{
		{"localhost:8080", "localhost:8080"},
		{"127.0.0.1:0", "127.0.0.1:0"},
		{"[::1]:80", "[::1]:80"},
		{"[fe80::1%eth0]:80", "[fe80::1%eth0]:80"},
		{":8080", ":8080"},
		{"*:8080", ":8080"},
		{"example.org:http", "example.org:http"},
		{"unix:/run/chat.sock", "unix:/run/chat.sock"},
		{"unix:///run/chat.sock", "unix:/run/chat.sock"},
		{"unix://run/chat.sock", "unix:/run/chat.sock"},
		{"unix:chat.sock", "unix:chat.sock"},
		{"unix:@chat", "unix:@chat"},
		{"fd://0", "fd://0"},
		{"fd://17", "fd://17"},
		{"systemd", "systemd"},
		{"systemd:web", "systemd:web"},
	} {
		got, err := listener.ParseAddress(test.in)
		if err != nil || got != test.want {
			t.Errorf("%q is %q, %v; want %q", test.in, got, err, test.want)
		}
	}
}

func TestParseAddressErrors(t *testing.T) {
	for _, test := range []struct {
		in, says string
	}{
		{"", "missing port"},
		{"localhost", "missing port"},
		{"localhost:", "no port"},
		{"localhost:65536", "up to 65535"},
		{"localhost:-1", "up to 65535"},
		{"::1:80", "too many colons"},
		{"[::1:80", "missing ']'"},
		{"http://localhost:80", "too many colons"},
		{"tcp://localhost", "not a host name"},
		{"unix:", "no path"},
		{"unix://", "no path"},
		{"unix:@", "no path"},
		{"unix:/run/", "folder"},
		{"unix:/a\x00b", "zero byte"},
		{"unix:/" + strings.Repeat("x", 107), "107 bytes"},
		{"fd://", "a number"},
		{"fd://-1", "a number"},
		{"fd://x", "a number"},
		{"fd://99999999999", "a number"},
		{"fd://$(circus.sockets.web)", "process manager"},
		{"fd:3", "fd://N"},
		{"systemd:", "FileDescriptorName="},
		{"systemd:a:b", "FileDescriptorName="},
	} {
		ls, err := listener.Open(test.in, nil)
		if addr := new(net.AddrError); !errors.As(err, &addr) || !strings.Contains(err.Error(), test.says) {
			ls.Close()
			t.Errorf("%q: %v; want an AddrError with %q", test.in, err, test.says)
		}
	}
}

func TestAddress(t *testing.T) {
	for _, test := range []struct {
		host string
		want string
	}{
		{"localhost", "localhost:8080"},
		{"", ":8080"},
		{"::1", "[::1]:8080"},
		{"[::1]", "[::1]:8080"},
		{"unix:/run/chat.sock", "unix:/run/chat.sock"},
		{"fd://3", "fd://3"},
		{"systemd", "systemd"},
		{"systemd:web", "systemd:web"},
		{"systemd.example.org", "systemd.example.org:8080"},
	} {
		if got := listener.Address(test.host, 8080); got != test.want {
			t.Errorf("%q is %q, want %q", test.host, got, test.want)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{
		"localhost:8080", "[::1]:80", "[fe80::1%eth0]:80", "*:0", ":http", "unix:/run/chat.sock", "unix:///x",
		"unix:@a", "unix:@/", "fd://0", "fd://2147483647", "fd://2147483648", "systemd", "systemd:web", "[]:1", "[[]:1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		written, err := listener.ParseAddress(s)
		if err != nil {
			return
		}
		again, err := listener.ParseAddress(written)
		if err != nil || again != written {
			t.Fatalf("%q is written %q, which is read as %q, %v", s, written, again, err)
		}
	})
}
