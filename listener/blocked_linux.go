package listener

import (
	"errors"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// acceptTimeout is SO_RCVTIMEO of an inherited socket. Its only use is that it is there:
// accept(2) on a socket with a receive timeout is never restarted after a signal handler
// (signal(7)), so a signal ends it. It is long, since accepted connections inherit it,
// and short enough for the kernel's clock on 32 bits.
const acceptTimeout = 30 * 24 * time.Hour

// closeTimeout bounds how long close tries to end an accept. A signal does it at once,
// unless another process has taken SO_RCVTIMEO off the socket.
const closeTimeout = time.Second

var errStuck = errors.New("accept is not to be interrupted: another process has changed SO_RCVTIMEO of the socket")

// blocked is a socket that other processes accept from too. Its connections are waited
// for in accept4 itself, where the kernel serves those who wait in turn; the package's
// documentation says why that matters.
//
// The goroutine that calls accept is the one that blocks, with its thread, instead of
// one that waits on its behalf: nothing is handed over between goroutines.
type blocked struct {
	fd     int
	turn   chan struct{} // holds a value while a goroutine accepts, or close closes fd
	tid    atomic.Int32  // the thread that accepts, 0 for none
	closed atomic.Bool

	size uint32 // of an address, while accept writes it

	// A connection for which there was no second descriptor yet. Whoever has turn has it.
	pending *os.File
}

// newShared makes fd, which it owns from now on, ready to be accepted from next to
// other processes.
func newShared(fd int) (socket, error) {
	b := newBlocked(fd)
	// A subflow of Multipath TCP does not hear of SO_RCVTIMEO. Such a socket stays
	// non-blocking and is polled: less fair, but accept can be ended.
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	if protocol == unix.IPPROTO_MPTCP {
		return b, os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
	}
	timeout := unix.NsecToTimeval(int64(acceptTimeout))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	return b, os.NewSyscallError("fcntl", unix.SetNonblock(fd, false))
}

// newBlocked returns a blocked of fd as it is. One that does not block is polled.
func newBlocked(fd int) *blocked {
	// A timer has the runtime open its poller. It would with the first connection, and
	// dies where that has taken the last descriptor.
	time.AfterFunc(time.Hour, func() {}).Stop()
	return &blocked{fd: fd, turn: make(chan struct{}, 1)}
}

// accept makes a net.Conn of the next connection. Package net has no way to do that
// but to duplicate the descriptor. Where there is none left to duplicate it to, the
// connection waits in b.pending rather than being lost.
func (b *blocked) accept() (net.Conn, error) {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	if b.pending == nil {
		// In blocking mode, so that os.NewFile does not register it with the poller.
		fd, err := b.next(nil, 0)
		if err != nil {
			return nil, err
		}
		b.pending = os.NewFile(uintptr(fd), "connection")
	}
	conn, err := net.FileConn(b.pending)
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		return nil, err
	}
	b.pending.Close()
	b.pending = nil
	if err != nil {
		return nil, err
	}
	if _, ok := conn.(*net.TCPConn); ok && conn.RemoteAddr() == nil {
		conn.Close()
		return nil, unix.ECONNRESET // while it queued: getpeername knows it no more
	}
	return conn, nil
}

func (b *blocked) acceptFD(peer *unix.RawSockaddrAny) (int, error) {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	return b.next(peer, unix.SOCK_NONBLOCK)
}

// next waits for a connection, and has its peer's address written to peer, unless that is nil.
// The caller has the turn.
func (b *blocked) next(peer *unix.RawSockaddrAny, flags int) (int, error) {
	// The goroutine of the last connection, say, runs here and now rather than in a
	// thread that would have to wake up for it.
	runtime.Gosched()
	// close has to know whom to wake.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.tid.Store(int32(unix.Gettid()))
	defer b.tid.Store(0)
	for !b.closed.Load() {
		b.size = unix.SizeofSockaddrAny
		fd, errno := blockingSyscall(unix.SYS_ACCEPT4, uintptr(b.fd), uintptr(unsafe.Pointer(peer)), uintptr(unsafe.Pointer(&b.size)),
			uintptr(flags|unix.SOCK_CLOEXEC), 0, 0)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR:
			// close, or a signal that was not for us.
		case unix.EAGAIN:
			if err := b.poll(); err != nil {
				return -1, err
			}
		default:
			return -1, os.NewSyscallError("accept4", errno)
		}
	}
	return -1, net.ErrClosed
}

// poll waits for the socket to become readable, where accept4 did not wait because
// somebody has made the socket non-blocking. The other reason is that acceptTimeout is over.
func (b *blocked) poll() error {
	flags, err := unix.FcntlInt(uintptr(b.fd), unix.F_GETFL, 0)
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	if flags&unix.O_NONBLOCK == 0 {
		return nil
	}
	// ppoll is never restarted after a signal (signal(7)), so close can end it too.
	events := unix.PollFd{Fd: int32(b.fd), Events: unix.POLLIN}
	_, errno := blockingSyscall(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&events)), 1, 0, 0, 0, 0)
	if errno != 0 && errno != unix.EINTR {
		return os.NewSyscallError("ppoll", errno)
	}
	return nil
}

func (b *blocked) dup() (int, error) {
	if b.closed.Load() {
		return -1, net.ErrClosed
	}
	return dupCloexec(b.fd)
}

// close ends the accept that waits and those that queue behind it. The signal is
// SIGURG, with which the runtime preempts goroutines and which it takes for spurious. A
// signal that arrives just before the thread enters the system call is lost, so it is
// repeated until the thread is out.
func (b *blocked) close() error {
	b.closed.Store(true)
	giveUp := time.NewTimer(closeTimeout)
	defer giveUp.Stop()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		select {
		case b.turn <- struct{}{}:
			defer func() { <-b.turn }()
			if b.pending != nil {
				b.pending.Close()
			}
			return os.NewSyscallError("close", unix.Close(b.fd))
		default:
		}
		if tid := b.tid.Load(); tid != 0 {
			unix.Tgkill(unix.Getpid(), int(tid), unix.SIGURG)
		}
		select {
		case b.turn <- struct{}{}:
			<-b.turn
		case <-again.C:
		case <-giveUp.C:
			// The descriptor stays open: its number must not become another file's
			// while accept uses it.
			return errStuck
		}
	}
}
