package listener_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/listener"
)

func TestInherited(t *testing.T) {
	for _, network := range []struct{ network, addr string }{
		{"tcp", "127.0.0.1:0"},
		{"tcp", "[::1]:0"},
		{"tcp", "[::]:0"},
		{"unix", ""},
	} {
		for _, nonblock := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %s nonblock %v", network.network, network.addr, nonblock), func(t *testing.T) {
				addr := network.addr
				if addr == "" {
					addr = t.TempDir() + "/s"
				}
				p := bind(t, network.network, addr)
				p.setNonblock(nonblock)
				fd := dup(t, p.fd)
				l := open(t, fmt.Sprintf("fd://%d", fd), nil)[0]
				if want := fmt.Sprintf("fd://%d", fd); l.String() != want || l.Addr().String() != p.addr.String() {
					t.Errorf("its name is %q, its address %v", l, l.Addr())
				}
				for range 3 {
					got := accept(l)
					talk(t, dial(t, l.Addr()), await(t, got, "the connection"))
				}
			})
		}
	}
}

// wrongFD is a descriptor that cannot be served on.
func wrongFD(t *testing.T, domain, kind int, prepare func(fd int)) int {
	t.Helper()
	fd, err := unix.Socket(domain, kind, 0)
	check(t, err)
	unix.CloseOnExec(fd)
	t.Cleanup(func() { unix.Close(fd) })
	if prepare != nil {
		prepare(fd)
	}
	return fd
}

func TestWrongFD(t *testing.T) {
	loopback := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	var pipe [2]int
	check(t, unix.Pipe(pipe[:])) // not close-on-exec, as what a parent passes
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	file, err := os.Create(t.TempDir() + "/file")
	check(t, err)
	defer file.Close()
	_, err = unix.FcntlInt(file.Fd(), unix.F_SETFD, 0)
	check(t, err)
	own, err := os.Open(os.DevNull) // close-on-exec: it was never inherited
	check(t, err)
	defer own.Close()
	served := bind(t, "tcp", "127.0.0.1:0")

	for _, test := range []struct {
		name string
		fd   int
		want error
		says string
	}{
		{"closed", 9999, listener.ErrFDClosed, "file descriptor 9999 is not open"},
		{"own", int(own.Fd()), listener.ErrFDClosed, "by this process itself"},
		{"pipe", pipe[0], listener.ErrFDNotSocket, "a pipe"},
		{"file", int(file.Fd()), listener.ErrFDNotSocket, "a file"},
		{"datagram", wrongFD(t, unix.AF_INET, unix.SOCK_DGRAM, func(fd int) { check(t, unix.Bind(fd, loopback)) }),
			listener.ErrFDNotStream, "a datagram socket"},
		{"unix datagram", wrongFD(t, unix.AF_UNIX, unix.SOCK_DGRAM, nil), listener.ErrFDNotStream, "a datagram socket"},
		{"unbound", wrongFD(t, unix.AF_INET, unix.SOCK_STREAM, nil), listener.ErrFDNotListening, "has not called listen"},
		{"bound", wrongFD(t, unix.AF_INET6, unix.SOCK_STREAM, func(fd int) {
			check(t, unix.Bind(fd, &unix.SockaddrInet6{Addr: [16]byte{15: 1}}))
		}), listener.ErrFDNotListening, "has not called listen"},
		{"connection", wrongFD(t, unix.AF_INET, unix.SOCK_STREAM, func(fd int) {
			addr := served.addr.(*net.TCPAddr)
			check(t, unix.Connect(fd, &unix.SockaddrInet4{Addr: loopback.Addr, Port: addr.Port}))
		}), listener.ErrFDNotListening, "a connection"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ls, err := listener.Open(fmt.Sprintf("fd://%d", test.fd), nil)
			var fdError *listener.FDError
			if !errors.As(err, &fdError) || fdError.FD != test.fd || !errors.Is(err, test.want) ||
				!strings.Contains(err.Error(), test.says) {
				ls.Close()
				t.Errorf("got %v, want %v with %q", err, test.want, test.says)
			}
		})
	}
}

func init() {
	roles["standard input"] = func() {
		ls, err := listener.Open("fd://0", nil)
		must(err)
		fmt.Println(ls)
		for range 2 {
			conn, err := ls[0].Accept()
			must(err)
			fmt.Fprintln(conn, "hello")
			conn.Close()
		}
		// Standard input is empty rather than a socket, and its number is not for anybody else.
		n, err := os.Stdin.Read(make([]byte, 1))
		fmt.Println(n, err)
		must(ls.Close())
		file, err := os.Open(os.DevNull)
		must(err)
		fmt.Println(file.Fd() > 2)
	}
}

func TestFDZero(t *testing.T) {
	for _, nonblock := range []bool{false, true} {
		t.Run(fmt.Sprintf("nonblock %v", nonblock), func(t *testing.T) {
			p := bind(t, "tcp", "127.0.0.1:0")
			p.setNonblock(nonblock)
			worker := start(t, "standard input", nil, p.file())
			if name := worker.line(); name != "fd://0" {
				t.Fatalf("its name is %q", name)
			}
			for range 2 {
				conn := dial(t, p.addr)
				buffer := make([]byte, 16)
				if n, err := conn.Read(buffer); err != nil || string(buffer[:n]) != "hello\n" {
					t.Fatalf("read %q, %v", buffer[:n], err)
				}
			}
			if got := worker.line(); got != "0 EOF" {
				t.Errorf("a read of standard input: %s", got)
			}
			if got := worker.line(); got != "true" {
				t.Error("a file has taken number 0")
			}
		})
	}
}
