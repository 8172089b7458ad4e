package listener_test

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/chaussette/chaussette/listener"
)

func TestTCP(t *testing.T) {
	for _, test := range []struct {
		addr, network, prefix string
	}{
		{"127.0.0.1:0", "tcp4", "127.0.0.1:"},
		{"[::1]:0", "tcp6", "[::1]:"},
		{"[::]:0", "tcp4", "[::]:"}, // takes IPv4 too
		{":0", "tcp4", "[::]:"},
		{":0", "tcp6", "[::]:"},
		{"0.0.0.0:0", "tcp4", "0.0.0.0:"},
	} {
		t.Run(test.addr+" "+test.network, func(t *testing.T) {
			ls := open(t, test.addr, nil)
			if len(ls) != 1 || ls[0].Shared() {
				t.Fatalf("%d listeners, shared %v", len(ls), ls[0].Shared())
			}
			name := ls.String()
			if !strings.HasPrefix(name, test.prefix) || strings.HasSuffix(name, ":0") {
				t.Errorf("its name is %q", name)
			}
			_, port, err := net.SplitHostPort(ls[0].Addr().String())
			check(t, err)
			host := map[string]string{"tcp4": "127.0.0.1", "tcp6": "::1"}[test.network]
			got := accept(ls[0])
			client, err := net.Dial(test.network, net.JoinHostPort(host, port))
			check(t, err)
			defer client.Close()
			talk(t, client, await(t, got, "the connection"))
		})
	}
}

func TestLocalhostIsBothFamilies(t *testing.T) {
	ls := open(t, "localhost:0", nil)
	if len(ls) != 2 {
		t.Fatalf("%d listeners: %s", len(ls), ls)
	}
	v4, v6 := ls[0].Addr().(*net.TCPAddr), ls[1].Addr().(*net.TCPAddr)
	if v4.IP.String() != "127.0.0.1" || v6.IP.String() != "::1" || v4.Port != v6.Port {
		t.Errorf("addresses %v and %v", v4, v6)
	}
	if !strings.HasPrefix(ls.String(), "localhost:") || strings.Contains(ls.String(), ",") {
		t.Errorf("their name is %q", ls)
	}
	for _, l := range ls {
		got := accept(l)
		talk(t, dial(t, l.Addr()), await(t, got, "the connection"))
	}
}

func TestTCPInUse(t *testing.T) {
	first := open(t, "localhost:0", nil)
	if _, err := listener.Open(first.String(), nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second %s: %v", first, err)
	}
	// With IPv6 alone taken, localhost is not served by halves.
	six := open(t, "[::1]:0", nil)
	_, port, err := net.SplitHostPort(six.String())
	check(t, err)
	if _, err := listener.Open("localhost:"+port, nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("localhost with ::1 taken: %v", err)
	}
	// What was bound before the error is free again.
	open(t, "127.0.0.1:"+port, nil)
}

// sockets are the two ways a socket is waited for, and the families.
func sockets(t *testing.T, test func(t *testing.T, l *listener.Listener)) {
	t.Run("bound tcp", func(t *testing.T) { test(t, open(t, "127.0.0.1:0", nil)[0]) })
	t.Run("bound unix", func(t *testing.T) { test(t, open(t, "unix:"+t.TempDir()+"/s", nil)[0]) })
	t.Run("inherited tcp", func(t *testing.T) { test(t, bind(t, "tcp", "127.0.0.1:0").worker()) })
	t.Run("inherited unix", func(t *testing.T) { test(t, bind(t, "unix", t.TempDir()+"/s").worker()) })
}

func TestAcceptedConnection(t *testing.T) {
	sockets(t, func(t *testing.T, l *listener.Listener) {
		got := accept(l)
		client := dial(t, l.Addr())
		server := await(t, got, "the connection")
		talk(t, client, server)
		tcp, ok := server.conn.(*net.TCPConn)
		if !ok {
			if _, ok := server.conn.(*net.UnixConn); !ok {
				t.Fatalf("a connection of type %T", server.conn)
			}
			return
		}
		if tcp.RemoteAddr().String() != client.LocalAddr().String() {
			t.Errorf("the peer is %v, want %v", tcp.RemoteAddr(), client.LocalAddr())
		}
	})
}

func TestCloseEndsAccept(t *testing.T) {
	sockets(t, func(t *testing.T, l *listener.Listener) {
		// Two that accept, one of which waits its turn.
		first, second := accept(l), accept(l)
		check(t, l.Close())
		for _, c := range []<-chan accepted{first, second} {
			if got := await(t, c, "Accept to return"); !errors.Is(got.err, net.ErrClosed) {
				t.Errorf("Accept returned %v, %v", got.conn, got.err)
			}
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a later Accept: %v", err)
		}
		check(t, l.Close())
	})
}

// Close has to find an accept in each state: about to block, blocked, about to return.
func TestCloseRacesAccept(t *testing.T) {
	p := bind(t, "tcp", "127.0.0.1:0")
	for range 300 {
		l := p.worker()
		got := accept(l)
		check(t, l.Close())
		if a := await(t, got, "Accept to return"); !errors.Is(a.err, net.ErrClosed) {
			t.Fatalf("Accept returned %v, %v", a.conn, a.err)
		}
	}
}

func TestInode(t *testing.T) {
	p := bind(t, "tcp", "127.0.0.1:0")
	one, two, other := p.worker(), p.worker(), open(t, "127.0.0.1:0", nil)[0]
	if one.Inode() == 0 || one.Inode() != two.Inode() || one.Inode() == other.Inode() {
		t.Errorf("inodes %d, %d of one socket, %d of another", one.Inode(), two.Inode(), other.Inode())
	}
	if !one.Shared() || other.Shared() {
		t.Error("shared: the inherited one is, the bound one is not")
	}
}

func TestBindErrorHasItsCause(t *testing.T) {
	if os.Getuid() != 0 {
		_, err := listener.Open("127.0.0.1:1", nil)
		if !errors.Is(err, syscall.EACCES) {
			t.Errorf("port 1 as a user: %v", err)
		}
	}
	_, err := listener.Open("192.0.2.1:0", nil) // TEST-NET-1 (RFC 5737)
	if !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("an address of nobody: %v", err)
	}
}
