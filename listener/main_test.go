package listener_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/listener"
)

// patience bounds what should take no time, so that a test fails instead of hanging.
const patience = 20 * time.Second

// roleVariable makes the test binary another process: its value names a function of roles.
const roleVariable = "LISTENER_TEST_ROLE"

var roles = map[string]func(){}

func TestMain(m *testing.M) {
	if role, ok := roles[os.Getenv(roleVariable)]; ok {
		role()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// process is the test binary in a role. What it prints comes line by line.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

// start runs the role with stdin (nil for a pipe to write to) and with files from descriptor 3 on.
func start(t *testing.T, role string, env []string, stdin *os.File, files ...*os.File) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Env = append(cmd.Env, env...)
	cmd.ExtraFiles = files
	p := &process{t: t, cmd: cmd}
	if stdin != nil {
		cmd.Stdin = stdin
	} else {
		pipe, err := cmd.StdinPipe()
		check(t, err)
		p.stdin = pipe
	}
	out, err := cmd.StdoutPipe()
	check(t, err)
	p.stdout = bufio.NewReader(out)
	cmd.Stderr = os.Stderr
	check(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return p
}

// line reads the next line it prints.
func (p *process) line() string {
	p.t.Helper()
	timer := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		p.t.Fatalf("the process ended after %q: %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (p *process) tell(line string) {
	p.t.Helper()
	_, err := fmt.Fprintln(p.stdin, line)
	check(p.t, err)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must is check in a role, which has no testing.T.
func must(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

// open opens addr and closes it at the end of the test.
func open(t testing.TB, addr string, o *listener.Options) listener.Listeners {
	t.Helper()
	ls, err := listener.Open(addr, o)
	check(t, err)
	t.Cleanup(func() { ls.Close() })
	return ls
}

// parent is a socket as a process manager opens it.
type parent struct {
	t    testing.TB
	fd   int
	addr net.Addr
}

// bind opens a listening socket of net.Listen's, plain TCP or Unix.
func bind(t testing.TB, network, addr string) *parent {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	return bindWith(t, &config, network, addr)
}

func bindWith(t testing.TB, config *net.ListenConfig, network, addr string) *parent {
	t.Helper()
	l, err := config.Listen(t.Context(), network, addr)
	check(t, err)
	if l, ok := l.(*net.UnixListener); ok {
		l.SetUnlinkOnClose(false)
	}
	f, err := l.(interface{ File() (*os.File, error) }).File()
	check(t, err)
	p := &parent{t: t, addr: l.Addr(), fd: -1}
	raw, err := f.SyscallConn()
	check(t, err)
	check(t, raw.Control(func(fd uintptr) { p.fd = dup(t, int(fd)) }))
	f.Close()
	l.Close()
	t.Cleanup(func() { unix.Close(p.fd) })
	return p
}

// dup returns a copy of fd, which whoever opens it will own.
func dup(t testing.TB, fd int) int {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	check(t, err)
	return fd
}

// worker opens the parent's socket once more, as a process that inherits it would.
func (p *parent) worker() *listener.Listener {
	p.t.Helper()
	return open(p.t, fmt.Sprintf("fd://%d", dup(p.t, p.fd)), nil)[0]
}

// file is the socket for an exec.Cmd.
func (p *parent) file() *os.File {
	f := os.NewFile(uintptr(dup(p.t, p.fd)), "socket")
	p.t.Cleanup(func() { f.Close() })
	return f
}

func (p *parent) setNonblock(nonblock bool) {
	p.t.Helper()
	check(p.t, unix.SetNonblock(p.fd, nonblock))
}

// dial connects to addr and closes the connection at the end of the test.
func dial(t testing.TB, addr net.Addr) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout(addr.Network(), addr.String(), patience)
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// accepted is what an Accept returned.
type accepted struct {
	conn net.Conn
	err  error
}

// accept calls Accept in a goroutine of its own.
func accept(l net.Listener) <-chan accepted {
	c := make(chan accepted, 1)
	go func() {
		conn, err := l.Accept()
		c <- accepted{conn, err}
	}()
	return c
}

// await receives from c, or fails.
func await[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("waited in vain for ", what)
		panic("unreachable")
	}
}

// talk sends a line over the client's end of a connection and has it back from the other.
func talk(t testing.TB, client net.Conn, server accepted) {
	t.Helper()
	check(t, server.err)
	t.Cleanup(func() { server.conn.Close() })
	_, err := io.WriteString(client, "hello\n")
	check(t, err)
	server.conn.SetDeadline(time.Now().Add(patience))
	line, err := bufio.NewReader(server.conn).ReadString('\n')
	check(t, err)
	if line != "hello\n" {
		t.Fatalf("read %q", line)
	}
}
