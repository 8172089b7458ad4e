package listener_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/listener"
)

// nonblocking reads the flag of the parent's socket.
func (p *parent) nonblocking() bool {
	flags, err := unix.FcntlInt(uintptr(p.fd), unix.F_GETFL, 0)
	check(p.t, err)
	return flags&unix.O_NONBLOCK != 0
}

// A process that is not ours makes the socket non-blocking while a worker accepts.
func TestForeignNonblock(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			addr := map[string]string{"tcp": "127.0.0.1:0", "unix": t.TempDir() + "/s"}[network]
			p := bind(t, network, addr)
			l := p.worker()
			if p.nonblocking() {
				t.Fatal("Open has left the socket non-blocking")
			}
			for range 3 {
				// The first accept has blocked already, later ones find the flag.
				got := accept(l)
				p.setNonblock(true)
				talk(t, dial(t, p.addr), await(t, got, "the connection"))
				if !p.nonblocking() {
					t.Fatal("Accept has changed the flag under the other process")
				}
			}
			got := accept(l)
			waitForThread(t, "ppoll")
			check(t, l.Close())
			if a := await(t, got, "Accept to return"); !errors.Is(a.err, net.ErrClosed) {
				t.Errorf("Accept returned %v, %v", a.conn, a.err)
			}
		})
	}
}

// waitForThread waits until a thread of this process sleeps in the system call.
func waitForThread(t *testing.T, call string) {
	t.Helper()
	want := strconv.Itoa(map[string]int{"ppoll": unix.SYS_PPOLL, "accept4": unix.SYS_ACCEPT4}[call])
	for range 100_000 {
		tasks, err := os.ReadDir("/proc/self/task")
		check(t, err)
		for _, task := range tasks {
			line, err := os.ReadFile("/proc/self/task/" + task.Name() + "/syscall")
			if err != nil {
				continue
			}
			number, _, _ := strings.Cut(string(line), " ")
			if number == want {
				return
			}
		}
	}
	t.Fatal("no thread in ", call)
}

// The end of SO_RCVTIMEO looks like a non-blocking socket, and is not one.
func TestReceiveTimeoutEnds(t *testing.T) {
	p := bind(t, "tcp", "127.0.0.1:0")
	l := p.worker()
	check(t, unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 1000}))
	got := accept(l)
	select {
	case a := <-got:
		t.Fatalf("Accept returned %v, %v", a.conn, a.err)
	default:
	}
	waitForThread(t, "accept4")
	waitForThread(t, "accept4")
	talk(t, dial(t, p.addr), await(t, got, "the connection"))
}

// Where accept cannot be interrupted, Close says so instead of hanging, and the
// connection that ends the accept is not lost.
func TestReceiveTimeoutTaken(t *testing.T) {
	p := bind(t, "tcp", "127.0.0.1:0")
	l := p.worker()
	check(t, unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{}))
	got := accept(l)
	waitForThread(t, "accept4")
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), "SO_RCVTIMEO") {
		t.Errorf("Close: %v", err)
	}
	talk(t, dial(t, p.addr), await(t, got, "the connection"))
}

func TestMultipathTCP(t *testing.T) {
	var config net.ListenConfig
	config.SetMultipathTCP(true)
	p := bindWith(t, &config, "tcp", "127.0.0.1:0")
	// Where the kernel has none, what is bound so is plain TCP, and is to work all the same.
	protocol, err := unix.GetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	check(t, err)
	t.Log("Multipath TCP:", protocol == unix.IPPROTO_MPTCP)
	l := p.worker()
	got := accept(l)
	talk(t, dial(t, p.addr), await(t, got, "the connection"))
	got = accept(l)
	waitForThread(t, "ppoll")
	check(t, l.Close())
	if a := await(t, got, "Accept to return"); !errors.Is(a.err, net.ErrClosed) {
		t.Errorf("Accept returned %v, %v", a.conn, a.err)
	}
}

// What we bind is plain TCP, so that it can be passed on.
func TestBoundIsPlainTCP(t *testing.T) {
	l := open(t, "127.0.0.1:0", nil)[0]
	got := accept(l)
	dial(t, l.Addr())
	a := await(t, got, "the connection")
	check(t, a.err)
	defer a.conn.Close()
	if used, err := a.conn.(*net.TCPConn).MultipathTCP(); used || err != nil {
		t.Errorf("Multipath TCP is %v, %v", used, err)
	}
}

func init() {
	// A worker that counts what it accepts, says so for each connection and keeps it open.
	roles["count"] = func() {
		ls, err := listener.Open("fd://3", nil)
		must(err)
		fmt.Println("ready")
		var conns []net.Conn
		for {
			conn, err := ls[0].Accept()
			must(err)
			fmt.Fprintln(conn, os.Getpid())
			conns = append(conns, conn)
			runtime.KeepAlive(conns) // else the collector closes them
		}
	}
}

// Connections that come one after another go round: each of four processes gets its share.
func TestFairness(t *testing.T) {
	const workers, each = 4, 50
	for _, nonblock := range []bool{false, true} {
		t.Run(fmt.Sprintf("nonblock %v", nonblock), func(t *testing.T) {
			p := bind(t, "tcp", "127.0.0.1:0")
			p.setNonblock(nonblock)
			for range workers {
				start(t, "count", nil, nil, p.file()).line()
			}
			shares := make(map[string]int)
			for range workers * each {
				conn := dial(t, p.addr)
				buffer := make([]byte, 32)
				n, err := conn.Read(buffer)
				check(t, err)
				shares[string(buffer[:n])]++
			}
			// The kernel wakes them in turn. A worker that is late back in the queue loses
			// its turn to the next, but nobody goes without.
			for pid, share := range shares {
				if share < each*3/4 || share > each*5/4 {
					t.Errorf("process %s has %d connections of %d", strings.TrimSpace(pid), share, workers*each)
				}
			}
			if len(shares) != workers {
				t.Errorf("%d of %d processes have connections", len(shares), workers)
			}
		})
	}
}

// Close ends the accept of one worker and leaves the others accepting.
func TestCloseLeavesSiblings(t *testing.T) {
	p := bind(t, "tcp", "127.0.0.1:0")
	leaving, staying := p.worker(), p.worker()
	left, stayed := accept(leaving), accept(staying)
	check(t, leaving.Close())
	if a := await(t, left, "Accept to return"); !errors.Is(a.err, net.ErrClosed) {
		t.Errorf("Accept returned %v, %v", a.conn, a.err)
	}
	for range 10 {
		talk(t, dial(t, p.addr), await(t, stayed, "the connection"))
		stayed = accept(staying)
	}
	check(t, staying.Close())
	await(t, stayed, "Accept to return")
}

// limitFiles leaves the process n descriptors more than it has.
func limitFiles(n int) {
	var open int
	for fd := range 1000 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			open++
		}
	}
	limit := unix.Rlimit{Cur: uint64(open + n), Max: uint64(open + n)}
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
}

func init() {
	// A worker with room for a few connections. It closes them when it is told to.
	roles["full"] = func() {
		ls, err := listener.Open(os.Getenv("ADDR"), &listener.Options{Logger: logTo(os.Stdout)})
		must(err)
		room, err := strconv.Atoi(os.Getenv("ROOM"))
		must(err)
		fmt.Println(ls[0].Addr())
		commands := make(chan struct{})
		go func() {
			for {
				var line string
				if _, err := fmt.Scanln(&line); err != nil {
					os.Exit(1)
				}
				commands <- struct{}{}
			}
		}()
		limitFiles(room)
		conns := make(chan net.Conn, 100)
		go func() {
			for {
				conn, err := ls[0].Accept()
				must(err)
				fmt.Fprintln(conn, "hello")
				conns <- conn
			}
		}()
		for range commands {
			for range len(conns) {
				(<-conns).Close()
			}
		}
	}
}

// A worker at its limit of files waits, says so once, and goes on when files are closed; no connection is lost.
func TestFileLimit(t *testing.T) {
	for _, test := range []struct {
		name, addr string
		room       int
	}{
		{"inherited", "fd://3", 3},
		// The last descriptor accepts a connection, and leaves none to make a net.Conn with.
		{"inherited, no second descriptor", "fd://3", 4},
		{"bound", "127.0.0.1:0", 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := bind(t, "tcp", "127.0.0.1:0")
			worker := start(t, "full", []string{"ADDR=" + test.addr, "ROOM=" + strconv.Itoa(test.room)}, nil, p.file())
			addr, err := net.ResolveTCPAddr("tcp", worker.line())
			check(t, err)
			conns := make([]net.Conn, 10)
			for i := range conns {
				conns[i] = dial(t, addr)
			}
			if got := worker.line(); !strings.Contains(got, "cannot accept") || !strings.Contains(got, "too many open files") {
				t.Errorf("it logged %s", got)
			}
			for i, conn := range conns {
				buffer := make([]byte, 16)
				for {
					conn.SetReadDeadline(inAWhile())
					n, err := conn.Read(buffer)
					if errors.Is(err, os.ErrDeadlineExceeded) {
						worker.tell("close")
						continue
					}
					if err != nil || string(buffer[:n]) != "hello\n" {
						t.Fatalf("connection %d: read %q, %v", i, buffer[:n], err)
					}
					break
				}
			}
		})
	}
}
