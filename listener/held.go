package listener

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// heldVariable is the environment variable by which one image of a process tells the
// next of the sockets it has kept open. Its value is a heldSockets in JSON.
const heldVariable = "CHAUSSETTE_HELD_SOCKETS"

type heldSockets struct {
	PID     int          `json:"pid,omitempty"`    // whom it is meant for, as LISTEN_PID
	Parent  int          `json:"parent,omitempty"` // or whose child
	Sockets []heldSocket `json:"sockets"`
}

type heldSocket struct {
	Asked  string `json:"asked"` // the address as Open was given it
	Name   string `json:"name"`
	FD     int    `json:"fd"`
	Shared bool   `json:"shared"`
	// The file of a Unix socket that was bound here.
	Path string `json:"path,omitempty"`
	Dev  uint64 `json:"dev,omitempty"`
	Ino  uint64 `json:"ino,omitempty"`
}

// Held are sockets that stay open after their Listeners are closed, so that this process
// can execute its program anew without turning a connection away:
//
//	held, err := ls.Hold()        // on SIGHUP
//	ls.Close()                    // drain; new connections wait in the backlog
//	err = held.Exec(os.Args[0], os.Args, os.Environ())
//
// In the new image, Open with the same address takes the sockets up.
type Held struct {
	sockets   []heldSocket
	listeners Listeners
}

// Hold keeps the sockets of ls open. The file of a Unix socket stays as well, even when its
// Listener is closed.
func (ls Listeners) Hold() (*Held, error) {
	h := &Held{listeners: ls}
	for _, l := range ls {
		fd, err := l.socket.dup()
		if err != nil {
			h.Close()
			return nil, fmt.Errorf("hold %s: %w", l, err)
		}
		s := heldSocket{Asked: l.asked, Name: l.name, FD: fd, Shared: l.shared}
		l.mu.Lock()
		if l.file != nil {
			s.Path, s.Dev, s.Ino = l.file.path, l.file.dev, l.file.ino
			l.file = nil
		}
		l.mu.Unlock()
		h.sockets = append(h.sockets, s)
	}
	return h, nil
}

// Exec replaces the program of this process, as execve(2) does: path is the file,
// args begin with the program's name. It returns only if that fails; the sockets are
// still held then.
func (h *Held) Exec(path string, args, env []string) error {
	value, err := json.Marshal(heldSockets{PID: os.Getpid(), Sockets: h.sockets})
	if err != nil {
		return err
	}
	var kept []string
	for _, e := range env {
		if !strings.HasPrefix(e, heldVariable+"=") {
			kept = append(kept, e)
		}
	}
	// With the lock, no child that another goroutine starts gets the sockets.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	for _, s := range h.sockets {
		if _, err := unix.FcntlInt(uintptr(s.FD), unix.F_SETFD, 0); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		defer unix.CloseOnExec(s.FD)
	}
	err = syscall.Exec(path, args, append(kept, heldVariable+"="+string(value)))
	return &os.PathError{Op: "exec", Path: path, Err: err}
}

// Pass has cmd, which is not started yet, inherit the sockets. Open in it with the same
// address takes them up; it shares them with this process and its other children, and
// leaves the files of Unix sockets to this one. Start cmd before the Held is closed, and
// close its ExtraFiles after that.
func (h *Held) Pass(cmd *exec.Cmd) error {
	passed := heldSockets{Parent: os.Getpid()}
	for _, s := range h.sockets {
		fd, err := dupCloexec(s.FD)
		if err != nil {
			return err
		}
		const firstExtra = 3 // os/exec: entry i becomes descriptor 3+i
		passed.Sockets = append(passed.Sockets, heldSocket{Asked: s.Asked, Name: s.Name, FD: firstExtra + len(cmd.ExtraFiles), Shared: true})
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(fd), s.Name))
	}
	value, err := json.Marshal(passed)
	if err != nil {
		return err
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = slices.DeleteFunc(cmd.Env, func(e string) bool { return strings.HasPrefix(e, heldVariable+"=") })
	cmd.Env = append(cmd.Env, heldVariable+"="+string(value))
	return nil
}

// Close gives the sockets up. Their Listeners, if open still, go on as before Hold.
func (h *Held) Close() error {
	var errs []error
	for i, s := range h.sockets {
		if s.Path != "" {
			errs = append(errs, h.listeners[i].giveBack(&socketFile{s.Path, s.Dev, s.Ino}))
		}
		errs = append(errs, os.NewSyscallError("close", unix.Close(s.FD)))
	}
	h.sockets = nil
	return errors.Join(errs...)
}

// giveBack makes the Listener the owner of its file again, or ends the file where the
// Listener has ended.
func (l *Listener) giveBack(file *socketFile) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.closed:
		return file.unlink()
	default:
		l.file = file
		return nil
	}
}

// takeHeld opens the sockets of the address asked that the process's last image has
// held, and takes them out of the environment.
func takeHeld(asked string, o Options) (Listeners, error) {
	value, ok := os.LookupEnv(heldVariable)
	if !ok {
		return nil, nil
	}
	var held heldSockets
	if err := json.Unmarshal([]byte(value), &held); err != nil {
		return nil, fmt.Errorf("%s: %w", heldVariable, err)
	}
	if held.PID != os.Getpid() && held.Parent != os.Getppid() {
		return nil, nil // meant for our parent
	}
	var mine, others []heldSocket
	for _, s := range held.Sockets {
		if s.Asked == asked {
			mine = append(mine, s)
		} else {
			others = append(others, s)
		}
	}
	held.Sockets = others
	rest, err := json.Marshal(held)
	if err != nil {
		return nil, err
	}
	if err := os.Setenv(heldVariable, string(rest)); err != nil {
		return nil, err
	}
	if len(others) == 0 {
		os.Unsetenv(heldVariable)
	}
	var ls Listeners
	for _, s := range mine {
		l, err := s.open(o)
		if err != nil {
			ls.Close()
			return nil, err
		}
		ls = append(ls, l)
	}
	return ls, nil
}

func (s heldSocket) open(o Options) (*Listener, error) {
	if err := checkFD(s.FD); err != nil {
		return nil, err
	}
	unix.CloseOnExec(s.FD)
	if s.Shared {
		return inherited(s.FD, s.Asked, s.Name, o)
	}
	p, err := fileListener(s.FD)
	if err != nil {
		return nil, &FDError{FD: s.FD, Err: err}
	}
	l, err := bound(p.inner, s.Asked, s.Name, o)
	if err != nil {
		return nil, err
	}
	if s.Path != "" {
		l.file = &socketFile{s.Path, s.Dev, s.Ino}
	}
	return l, nil
}
