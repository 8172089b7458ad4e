package webtest

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Manager is a process manager's way with its workers: what they inherit, and how they
// are stopped.
type Manager struct {
	Name string
	// Unix has the workers share a Unix socket in place of one of TCP.
	Unix bool

	patience time.Duration // from SIGTERM to SIGKILL
	shared   bool          // the workers inherit a socket
	blocking bool          // its file description has no O_NONBLOCK
	prepare  func(cmd *exec.Cmd, socket *os.File)
}

// The managers.
var (
	// Circus gives each worker a session of its own, an environment with nothing but
	// PATH, no standard input, and the socket, non-blocking, under a number that stands
	// in the command line.
	Circus = Manager{Name: "Circus", shared: true, patience: 30 * time.Second, prepare: func(cmd *exec.Cmd, socket *os.File) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
		passAs3(cmd, socket)
	}}

	// Supervisor gives each worker a process group of its own, its own environment, and
	// the socket, blocking, as standard input (an fcgi-program).
	Supervisor = Manager{Name: "Supervisor", shared: true, blocking: true, patience: 10 * time.Second, prepare: func(cmd *exec.Cmd, socket *os.File) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Env = append(os.Environ(), "SUPERVISOR_ENABLED=1", "SUPERVISOR_PROCESS_NAME=web", "SUPERVISOR_GROUP_NAME=web")
		cmd.Stdin = socket
		cmd.Args = append(cmd.Args, "--fd", "0")
	}}

	// Systemd passes the socket as file descriptor 3 and says so in the environment.
	Systemd = Manager{Name: "systemd", shared: true, patience: 90 * time.Second, prepare: func(cmd *exec.Cmd, socket *os.File) {
		// LISTEN_PID is the worker's own pid: the shell's, which the worker takes over.
		cmd.Args = append([]string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}, append(cmd.Args, "--host", "systemd")...)
		cmd.Path = "/bin/sh"
		cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=web.socket")
		cmd.ExtraFiles = []*os.File{socket}
	}}

	// Parent is a program that starts workers on a socket of its own, blocking.
	Parent = Manager{Name: "parent", shared: true, blocking: true, patience: 10 * time.Second, prepare: passAs3}

	// Alone is a shell: the worker opens a socket of its own, on loopback.
	Alone = Manager{Name: "alone", patience: 10 * time.Second, prepare: func(cmd *exec.Cmd, _ *os.File) {
		cmd.Args = append(cmd.Args, "--host", "127.0.0.1", "--port", "0")
	}}
)

// OnUnix is the manager with a Unix socket.
func (m Manager) OnUnix() Manager {
	m.Unix = true
	return m
}

func (m Manager) String() string {
	if m.Unix {
		return m.Name + " on a Unix socket"
	}
	return m.Name
}

func passAs3(cmd *exec.Cmd, socket *os.File) {
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Args = append(cmd.Args, "--fd", "3")
}

// listen opens the socket that the workers share, as the manager would have it.
func (m Manager) listen(t testing.TB) (*os.File, net.Addr) {
	t.Helper()
	var l interface {
		net.Listener
		syscall.Conn
	}
	var err error
	if m.Unix {
		// Not in t.TempDir: its path may be longer than that of a Unix socket can be.
		folder, err := os.MkdirTemp("", "webtest-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(folder) })
		unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(folder, "socket"), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		unix.SetUnlinkOnClose(false)
		l = unix
	} else {
		// Plain TCP, as from a manager in Python: not Multipath TCP, which Go prefers.
		config := net.ListenConfig{}
		config.SetMultipathTCP(false)
		tcp, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l = tcp.(*net.TCPListener)
	}
	defer l.Close()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var file *os.File
	if e := raw.Control(func(fd uintptr) { file, err = duplicate(int(fd), !m.blocking) }); e != nil || err != nil {
		t.Fatal(errors.Join(e, err))
	}
	t.Cleanup(func() { _ = file.Close() })
	return file, l.Addr()
}

// duplicate makes a file of a duplicate of fd, and sets whether the socket is
// non-blocking, which is a matter of all its descriptors. The file that package net makes
// of a listener would not do: os/exec makes the socket blocking when it passes that on.
func duplicate(fd int, nonblocking bool) (*os.File, error) {
	// No child is started before the descriptor is close-on-exec.
	syscall.ForkLock.RLock()
	own, err := syscall.Dup(fd)
	if err == nil {
		syscall.CloseOnExec(own)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	if err := syscall.SetNonblock(own, nonblocking); err != nil {
		_ = syscall.Close(own)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(own), "socket"), nil
}
