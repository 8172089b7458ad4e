package listener

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var (
	// ErrAnswered: a living process answers on the Unix socket.
	ErrAnswered = errors.New("another process answers on it")
	// ErrNotSocket: the path of the Unix socket is taken by something else, which stays.
	ErrNotSocket = errors.New("there is a file which is not a socket")
)

// lockTimeout bounds the wait for another process that is binding in the same folder.
const lockTimeout = 2 * time.Second

// socketFile is the file of a Unix socket that this process has bound.
type socketFile struct {
	path string // absolute
	dev  uint64
	ino  uint64
}

// unlink removes the file, if it is still the one that was bound.
func (f *socketFile) unlink() error {
	now, err := statSocket(f.path)
	if err != nil || *now != *f {
		return nil // gone, or another's
	}
	return os.Remove(f.path)
}

// statSocket identifies the file at path, without following a symbolic link.
func statSocket(path string) (*socketFile, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		return nil, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return &socketFile{path: path, dev: uint64(stat.Dev), ino: uint64(stat.Ino)}, nil
}

// openUnix binds the socket, over a file that a dead process has left.
func openUnix(asked, path string, o Options) (Listeners, error) {
	name := "unix:" + path
	fail := func(err error) (Listeners, error) {
		return nil, &net.OpError{Op: "listen", Net: "unix", Addr: &net.UnixAddr{Name: path, Net: "unix"}, Err: err}
	}
	abstract := strings.HasPrefix(path, "@")
	full := path
	if !abstract {
		var err error
		if full, err = filepath.Abs(path); err != nil { // the process may change its folder
			return fail(err)
		}
		// Between a bind and its listen a socket refuses, as that of a dead process does.
		unlock, err := lockFolder(filepath.Dir(full))
		if err != nil {
			return fail(err)
		}
		defer unlock()
		if err := removeStale(full); err != nil {
			return fail(err)
		}
	}
	config := config()
	if o.UnixMode != 0 && !abstract {
		// A file takes its first permissions from those of the socket, less the umask
		// (Linux, unix_bind), so that there is no moment in which more is allowed.
		config.Control = func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) { unix.Fchmod(int(fd), uint32(o.UnixMode.Perm())) })
		}
	}
	inner, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	inner.(*net.UnixListener).SetUnlinkOnClose(false) // it would remove anybody's
	l, err := bound(inner.(*net.UnixListener), asked, name, o)
	if err != nil {
		return nil, err
	}
	if abstract {
		return Listeners{l}, nil
	}
	if l.file, err = statSocket(full); err != nil {
		l.Close()
		return fail(err)
	}
	if o.UnixMode != 0 {
		// What the umask took.
		if err := os.Chmod(full, o.UnixMode.Perm()); err != nil {
			l.Close()
			return fail(err)
		}
	}
	return Listeners{l}, nil
}

// removeStale makes room at path, where a socket that nobody answers on may be removed
// and nothing else.
func removeStale(path string) error {
	file, err := statSocket(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != fs.ModeSocket {
		return errors.Join(ErrNotSocket, err)
	}
	switch err := probe(path); {
	case err == nil, errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EPROTOTYPE):
		// EAGAIN: its backlog is full. EPROTOTYPE: it is not of streams.
		return ErrAnswered
	case errors.Is(err, unix.ENOENT):
		return nil
	case !errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("find out whether somebody answers on it: %w", err)
	}
	return file.unlink()
}

// probe connects to the Unix socket at path, without waiting where its backlog is full.
func probe(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	return os.NewSyscallError("connect", unix.Connect(fd, &unix.SockaddrUnix{Name: path}))
}

// lockFolder keeps other processes of this package from binding in folder at the same
// time. It leaves no file behind. A folder that may not be read is not locked.
func lockFolder(folder string) (unlock func(), err error) {
	f, err := os.Open(folder)
	if errors.Is(err, fs.ErrPermission) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if (err != unix.EWOULDBLOCK && err != unix.EINTR) || time.Since(start) > lockTimeout {
			f.Close()
			return nil, fmt.Errorf("lock the folder %s: %w", folder, err)
		}
	}
}
