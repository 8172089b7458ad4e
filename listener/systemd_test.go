package listener_test

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/listener"
)

func init() {
	roles["systemd"] = func() {
		if os.Getenv("LISTEN_PID") == "self" { // as systemd does between fork and exec
			os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
		}
		ls, err := listener.Open(os.Getenv("ADDR"), nil)
		must(err)
		fmt.Println(ls)
		for _, l := range ls {
			go func() {
				conn, err := l.Accept()
				must(err)
				fmt.Fprint(conn, l)
				conn.Close()
			}()
		}
		fmt.Scanln()
	}
}

func TestSystemd(t *testing.T) {
	one, two := bind(t, "tcp", "127.0.0.1:0"), bind(t, "unix", t.TempDir()+"/s")
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	check(t, err)
	defer udp.Close()
	datagram, err := udp.(*net.UDPConn).File()
	check(t, err)
	defer datagram.Close()
	for _, test := range []struct {
		name, addr string
		env        []string
		want       string
	}{
		{"several", "systemd", []string{"LISTEN_PID=self", "LISTEN_FDS=2", "LISTEN_FDNAMES=web:local"}, "fd://3, fd://4"},
		{"without names", "systemd", []string{"LISTEN_PID=self", "LISTEN_FDS=2"}, "fd://3, fd://4"},
		{"by name", "systemd:local", []string{"LISTEN_PID=self", "LISTEN_FDS=2", "LISTEN_FDNAMES=web:local"}, "fd://4"},
		{"none of the name", "systemd:x", []string{"LISTEN_PID=self", "LISTEN_FDS=2", "LISTEN_FDNAMES=web:local"},
			`error: no socket from systemd: LISTEN_FDNAMES is "web:local", which has no "x"`},
		{"nothing", "systemd", nil, "error: no socket from systemd: LISTEN_PID is not set"},
		{"another's", "systemd", []string{"LISTEN_PID=1", "LISTEN_FDS=2"}, "error: no socket from systemd: LISTEN_PID is 1 and this process is"},
		{"no number", "systemd", []string{"LISTEN_PID=self", "LISTEN_FDS=many"}, `error: no socket from systemd: LISTEN_FDS is "many"`},
		{"a datagram socket among them", "systemd", []string{"LISTEN_PID=self", "LISTEN_FDS=3", "LISTEN_FDNAMES=web:local:dns"},
			"error: file descriptor 5 (dns) is not a stream socket: it is a datagram socket"},
		{"more than there are", "systemd", []string{"LISTEN_PID=self", "LISTEN_FDS=100"}, "error: file descriptor 5 is not a stream socket"},
	} {
		t.Run(test.name, func(t *testing.T) {
			worker := start(t, "systemd", append(test.env, "ADDR="+test.addr), nil, one.file(), two.file(), datagram)
			got := worker.line()
			if strings.HasPrefix(test.want, "error") {
				if !strings.HasPrefix(got, test.want) {
					t.Errorf("got %q, want %q", got, test.want)
				}
				return
			}
			if got != test.want {
				t.Fatalf("sockets %q, want %q", got, test.want)
			}
			for i, p := range []*parent{one, two} {
				name := fmt.Sprintf("fd://%d", 3+i)
				if !strings.Contains(got, name) {
					continue
				}
				buffer := make([]byte, 16)
				n, err := dial(t, p.addr).Read(buffer)
				if err != nil || string(buffer[:n]) != name {
					t.Errorf("%s answered %q, %v", name, buffer[:n], err)
				}
			}
		})
	}
}
