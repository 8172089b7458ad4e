package listener_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/listener"
)

func init() {
	// A worker that executes itself anew when it is told to, and serves in between.
	roles["held"] = func() {
		ls, err := listener.Open(os.Getenv("ADDR"), nil)
		must(err)
		fmt.Println(os.Getenv("IMAGE"), ls)
		for _, l := range ls {
			fmt.Println(l.Addr().Network(), l.Addr(), l.Shared())
		}
		for _, l := range ls {
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					fmt.Fprint(conn, os.Getenv("IMAGE"))
					conn.Close()
				}
			}()
		}
		for {
			var command string
			fmt.Scanln(&command)
			switch command {
			case "exec":
				held, err := ls.Hold()
				must(err)
				must(ls.Close())
				fmt.Println("closed")
				fmt.Scanln()
				os.Setenv("IMAGE", os.Getenv("IMAGE")+"x")
				must(held.Exec(os.Args[0], os.Args, os.Environ()))
			case "fail":
				held, err := ls.Hold()
				must(err)
				fmt.Println(held.Exec("/nonexistent", nil, nil) != nil)
				must(held.Close())
			case "end":
				must(ls.Close())
				return
			}
		}
	}
}

// While a worker executes itself anew its sockets stay, and what connects meanwhile is served.
func TestHeldExec(t *testing.T) {
	folder := t.TempDir()
	inherited := bind(t, "tcp", "127.0.0.1:0")
	for _, addr := range []string{"localhost:0", "127.0.0.1:0", "unix:" + folder + "/s", "fd://3"} {
		t.Run(strings.ReplaceAll(addr, "/", "_"), func(t *testing.T) {
			env := []string{"ADDR=" + addr, "IMAGE=x"}
			worker := start(t, "held", env, nil, inherited.file())
			name := strings.TrimPrefix(worker.line(), "x ")
			addrs := []string{worker.line()}
			if strings.HasPrefix(addr, "localhost") {
				addrs = append(addrs, worker.line())
			}
			dial := func(line string) net.Conn {
				var network, addr string
				fmt.Sscan(line, &network, &addr)
				conn, err := net.DialTimeout(network, addr, patience)
				check(t, err)
				return conn
			}
			for image := "x"; len(image) < 4; image += "x" {
				var conns []net.Conn
				for _, line := range addrs {
					conns = append(conns, dial(line))
				}
				for _, conn := range conns {
					if got, err := io.ReadAll(conn); err != nil || string(got) != image {
						t.Fatalf("image %s answered %q, %v", image, got, err)
					}
				}
				worker.tell("exec")
				if got := worker.line(); got != "closed" {
					t.Fatal(got)
				}
				conns = nil
				for _, line := range addrs {
					conns = append(conns, dial(line)) // into the backlog
				}
				worker.tell("")
				if got, want := worker.line(), image+"x "+name; got != want {
					t.Fatalf("image %sx says %q, want %q", image, got, want)
				}
				for _, addr := range addrs {
					if got := worker.line(); got != addr {
						t.Fatalf("socket %q became %q", addr, got)
					}
				}
				for _, conn := range conns {
					if got, err := io.ReadAll(conn); err != nil || string(got) != image+"x" {
						t.Fatalf("image %sx answered %q, %v", image, got, err)
					}
				}
			}
			worker.tell("fail")
			if got := worker.line(); got != "true" {
				t.Fatal("exec of nothing went well")
			}
			worker.tell("end")
			worker.cmd.Process.Wait()
			if exists(filepath.Join(folder, "s")) {
				t.Error("the file is there after the end")
			}
		})
	}
}

func TestHeldCloseAfterListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ls, err := listener.Open("unix:"+path, nil)
	check(t, err)
	held, err := ls.Hold()
	check(t, err)
	check(t, ls.Close())
	if !exists(path) {
		t.Fatal("Close removed the file of a held socket")
	}
	check(t, held.Close())
	if exists(path) {
		t.Error("nobody holds the socket, and the file is there")
	}
}
