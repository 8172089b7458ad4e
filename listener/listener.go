package listener

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options are what Open may be told. The zero value and nil serve.
type Options struct {
	// Backlog is how many connections that nobody has accepted yet the kernel keeps
	// for a socket bound here; 0 is 2048. The kernel caps it (net.core.somaxconn). The
	// backlog of an inherited socket is its parent's choice.
	Backlog int

	// UnixMode are the permissions of the file of a Unix socket bound here, in force
	// from its first moment on; connecting needs write permission. With 0 the umask
	// decides.
	UnixMode fs.FileMode

	// KeepAlive configures TCP keep-alive of accepted connections. Where it is not
	// enabled, they have package net's own: probes after 15 s of silence.
	KeepAlive net.KeepAliveConfig

	// Logger hears when accepting has to wait (no file descriptor left, say), once,
	// and when it goes on. Nil is slog.Default.
	Logger *slog.Logger
}

const defaultBacklog = 2048

func (o *Options) withDefaults() Options {
	var v Options
	if o != nil {
		v = *o
	}
	if v.Backlog <= 0 {
		v.Backlog = defaultBacklog
	}
	if v.Logger == nil {
		v.Logger = slog.Default()
	}
	return v
}

// A Listener is one listening socket of a stream: TCP over IPv4 or IPv6, or Unix. It
// is a net.Listener, and its connections are *net.TCPConn or *net.UnixConn. All methods
// may be called from any goroutine.
type Listener struct {
	asked   string // what Open was given, which is how Held knows it again
	name    string
	addr    net.Addr
	inode   uint64
	ident   string
	shared  bool
	alive   net.KeepAliveConfig
	socket  socket
	trouble trouble

	tuneOnce sync.Once   // AcceptFD, PollFD
	drained  atomic.Bool // since then nothing was in the queue, so all that comes is tuned
	closing  sync.Once
	closed   chan struct{}

	mu   sync.Mutex
	file *socketFile // what Close unlinks; nil where there is no file, or it is not ours
}

// socket is an open socket and how connections are waited for on it. Accept calls wait
// for one another where the way needs it. After close they return net.ErrClosed, except
// for a connection that the kernel has handed over already, which they return.
type socket interface {
	accept() (net.Conn, error)
	// dup returns a new close-on-exec descriptor of the socket, while it is open.
	dup() (int, error)
	// close ends the waiting and the descriptor, and leaves the other processes that
	// have the socket alone.
	close() error
}

// Accept waits for the next connection. TCP_NODELAY and keep-alive are set on it as
// package net does.
//
// What only passes (a full file table, a refusal of the firewall, a peer that left while it queued) never
// surfaces: Accept waits, longer each time, up to a second, and tells Options.Logger. An error that it
// returns is final; after Close it is net.ErrClosed. A connection that arrives in the
// moment of Close may still be returned, and then has to be served.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.socket.accept()
		if err == nil {
			l.trouble.passed()
			if tcp, ok := conn.(*net.TCPConn); ok && l.alive.Enable {
				tcp.SetKeepAliveConfig(l.alive) // fails where the peer has left: Read says so
			}
			return conn, nil
		}
		if err := l.wait(err); err != nil {
			return nil, err
		}
	}
}

// wait waits out an error of accept, or returns what Accept shall return for it.
func (l *Listener) wait(err error) error {
	select {
	case <-l.closed:
		err = net.ErrClosed
	default:
	}
	if !errors.Is(err, net.ErrClosed) {
		delay, passes := l.trouble.happened(err)
		if passes {
			timer := time.NewTimer(delay)
			defer timer.Stop()
			select {
			case <-timer.C:
				return nil
			case <-l.closed:
				err = net.ErrClosed
			}
		}
	}
	if op := new(net.OpError); errors.As(err, &op) {
		err = op.Err
	}
	return &net.OpError{Op: "accept", Net: l.addr.Network(), Addr: l.addr, Err: err}
}

// Close ends accepting at once, without a word to the other processes that share the
// socket, closes this process's descriptor, and removes the file of a Unix socket that
// was bound here, unless another socket has taken its place or Hold keeps it. A later
// call does nothing.
func (l *Listener) Close() error {
	var err error
	l.closing.Do(func() {
		close(l.closed)
		// The file goes first: whoever finds it finds somebody behind it.
		l.mu.Lock()
		if l.file != nil {
			err = l.file.unlink()
		}
		l.mu.Unlock()
		err = errors.Join(err, l.socket.close())
	})
	return err
}

// Addr returns the address the socket is bound to: a *net.TCPAddr or a *net.UnixAddr.
func (l *Listener) Addr() net.Addr { return l.addr }

// String returns the address as a person would write it: "localhost:8080", "fd://3",
// "unix:/run/chat.sock". A port that the kernel has chosen appears with its number.
func (l *Listener) String() string { return l.name }

// Inode returns the number of the socket, which is the same in every process that has
// it, and no other socket's as long as it is open. /proc/PID/fd shows it as
// "socket:[NUMBER]".
func (l *Listener) Inode() uint64 { return l.inode }

// Identity names the socket: the same in every process that has it, and never another
// socket's on this machine, before or after it. It has letters, digits and - only.
func (l *Listener) Identity() string { return l.ident }

// Shared reports whether the socket was inherited, so that other processes may accept
// from it too.
func (l *Listener) Shared() bool { return l.shared }

// Listeners are the sockets of one address, one or several.
type Listeners []*Listener

// Close closes each of them.
func (ls Listeners) Close() error {
	var errs []error
	for _, l := range ls {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// String names each, and once those that have the same name, as the two of localhost.
func (ls Listeners) String() string {
	var names []string
	for i, l := range ls {
		if i == 0 || l.name != ls[i-1].name {
			names = append(names, l.name)
		}
	}
	return strings.Join(names, ", ")
}

// newListener puts a Listener around s, the descriptor of which is fd.
func newListener(s socket, fd int, asked, name string, shared bool, o Options) (*Listener, error) {
	addr, err := localAddr(fd)
	if err != nil {
		return nil, fmt.Errorf("getsockname: %w", err)
	}
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); err != nil {
		return nil, fmt.Errorf("fstat: %w", err)
	}
	l := &Listener{
		asked:  asked,
		name:   name,
		addr:   addr,
		inode:  stat.Ino,
		ident:  identity(fd, stat.Ino),
		shared: shared,
		alive:  o.KeepAlive,
		socket: s,
		closed: make(chan struct{}),
	}
	l.trouble.log = o.Logger.With("listener", name)
	return l, nil
}
