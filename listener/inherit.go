package listener

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// What can be wrong with an inherited file descriptor: the Err of an FDError.
var (
	// ErrFDClosed: nothing is open under that number, or nothing that the parent passed on.
	ErrFDClosed = errors.New("is not open")
	// ErrFDNotSocket: it is a file, a pipe, a terminal.
	ErrFDNotSocket = errors.New("is not a socket")
	// ErrFDNotStream: it is a datagram socket, or another that has no connections.
	ErrFDNotStream = errors.New("is not a stream socket")
	// ErrFDFamily: it is neither TCP over IPv4 or IPv6 nor a Unix socket.
	ErrFDFamily = errors.New("is neither TCP nor a Unix socket")
	// ErrFDNotListening: it is bound but nobody has called listen, or it is a connection.
	ErrFDNotListening = errors.New("is not listening")
)

// FDError says that an inherited file descriptor cannot be served on, and why.
type FDError struct {
	FD     int
	Name   string // FileDescriptorName= where systemd passed it, else empty
	Err    error  // one of the ErrFD errors, or that of a system call
	Detail string // what it is instead, or what may help; may be empty
}

func (e *FDError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "file descriptor %d ", e.FD)
	if e.Name != "" {
		fmt.Fprintf(&b, "(%s) ", e.Name)
	}
	b.WriteString(e.Err.Error())
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	return b.String()
}

func (e *FDError) Unwrap() error { return e.Err }

// openFD opens the inherited descriptor fd, which belongs to the Listener from now on.
// One of the standard streams is moved away from its number, and the stream
// reads from the null device: else the number would be free for the next file
// once the Listener is closed, and libraries would take that for the stream.
func openFD(fd int, name, asked string, o Options) (*Listener, error) {
	if err := checkFD(fd); err != nil {
		err.Name = name
		return nil, err
	}
	shown := address{family: familyFD, fd: fd}.String()
	if fd <= 2 {
		moved, err := moveStandard(fd)
		if err != nil {
			return nil, &FDError{FD: fd, Name: name, Err: err}
		}
		fd = moved
	}
	unix.CloseOnExec(fd)
	return inherited(fd, asked, shown, o)
}

// inherited puts a Listener around the checked descriptor fd, which it owns.
func inherited(fd int, asked, name string, o Options) (*Listener, error) {
	s, err := newShared(fd)
	if err == nil {
		var l *Listener
		if l, err = newListener(s, fd, asked, name, true, o); err == nil {
			return l, nil
		}
	}
	unix.Close(fd)
	return nil, &FDError{FD: fd, Err: err}
}

// checkFD finds out whether fd is a listening stream socket. It changes nothing.
func checkFD(fd int) *FDError {
	fail := func(err error, detail string) *FDError {
		return &FDError{FD: fd, Err: err, Detail: detail}
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	switch {
	case err == unix.EBADF:
		return fail(ErrFDClosed, "was it passed to this process?")
	case err != nil:
		return fail(os.NewSyscallError("fcntl", err), "")
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case err == unix.ENOTSOCK && fd > 2 && flags&unix.FD_CLOEXEC != 0:
		// What crossed an exec is not close-on-exec; the runtime's own files are.
		return fail(ErrFDClosed, "its number is in use by this process itself; was it passed?")
	case err == unix.ENOTSOCK:
		return fail(ErrFDNotSocket, "it is "+describe(fd))
	case err != nil:
		return fail(os.NewSyscallError("getsockopt", err), "")
	case kind == unix.SOCK_DGRAM:
		return fail(ErrFDNotStream, "it is a datagram socket")
	case kind != unix.SOCK_STREAM:
		return fail(ErrFDNotStream, fmt.Sprintf("its type is %d", kind))
	}
	sockaddr, err := unix.Getsockname(fd)
	if err != nil && err != unix.EAFNOSUPPORT {
		return fail(os.NewSyscallError("getsockname", err), "")
	}
	if err != nil || addrOf(sockaddr) == nil {
		return fail(ErrFDFamily, "")
	}
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return fail(os.NewSyscallError("getsockopt", err), "")
	}
	if listening == 0 {
		if _, err := unix.Getpeername(fd); err == nil {
			return fail(ErrFDNotListening, "it is a connection")
		}
		return fail(ErrFDNotListening, "its parent has not called listen")
	}
	return nil
}

// describe names the file behind fd for an error.
func describe(fd int) string {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return "unknown"
	}
	var kind string
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
		return "a pipe"
	case unix.S_IFDIR:
		kind = "a folder"
	case unix.S_IFCHR:
		kind = "a device"
	case unix.S_IFREG:
		kind = "a file"
	default:
		kind = "something else"
	}
	if path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil {
		kind += ", " + path
	}
	return kind
}

// moveStandard gives the socket on 0, 1 or 2 another number. The os.File of
// the stream is closed rather than overwritten: where the socket is non-blocking the runtime
// has it in its poller, and would be woken by each connection.
func moveStandard(fd int) (int, error) {
	stream := []**os.File{&os.Stdin, &os.Stdout, &os.Stderr}[fd]
	moved, err := dupCloexec(fd)
	if err != nil {
		return -1, err
	}
	(*stream).Close()
	// The lowest free number is fd, unless another goroutine has just taken it.
	null, err := unix.Open(os.DevNull, unix.O_RDWR, 0)
	switch {
	case err != nil:
		unix.Close(moved)
		return -1, &os.PathError{Op: "open", Path: os.DevNull, Err: err}
	case null != fd:
		unix.Close(null)
	default:
		*stream = os.NewFile(uintptr(null), os.DevNull)
	}
	return moved, nil
}

// localAddr asks for the address that fd is bound to.
func localAddr(fd int) (net.Addr, error) {
	sockaddr, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	addr := addrOf(sockaddr)
	if addr == nil {
		return nil, ErrFDFamily
	}
	return addr, nil
}

// addrOf returns nil for families that this package does not serve.
func addrOf(sockaddr unix.Sockaddr) net.Addr {
	switch s := sockaddr.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: s.Addr[:], Port: s.Port}
	case *unix.SockaddrInet6:
		addr := &net.TCPAddr{IP: s.Addr[:], Port: s.Port}
		if s.ZoneId != 0 {
			if zone, err := net.InterfaceByIndex(int(s.ZoneId)); err == nil {
				addr.Zone = zone.Name
			}
		}
		return addr
	case *unix.SockaddrUnix:
		return &net.UnixAddr{Name: s.Name, Net: "unix"}
	}
	return nil
}
