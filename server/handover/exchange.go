package handover

import (
	"cmp"
	"log/slog"
	"net"
	"net/http/httputil"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/listener/siblings"
)

// Options say what an Exchange is for.
type Options struct {
	// Siblings are those who give and take. It has not been started.
	Siblings *siblings.Siblings
	// Addr is the worker's address.
	Addr net.Addr
	// Conns is how many long-lived connections the worker has, by which they are shared
	// out evenly. It is called often, and at once from several goroutines. Nil is none.
	Conns func() int
	// Logger hears of what is lost. Nil discards.
	Logger *slog.Logger
}

// Exchange gives connections and requests to siblings, and takes those that they give.
// Its methods may be called from any goroutine; none but Accept waits for anybody.
type Exchange struct {
	siblings *siblings.Siblings
	addr     net.Addr
	conns    func() int
	log      *slog.Logger
	proxy    *httputil.ReverseProxy
	taker    func(Moved)
	streams  func(c net.Conn, remote string)

	given, offered, proxied, taken atomic.Uint64

	ticker *time.Ticker
	tasks  sync.WaitGroup

	tellMu  sync.Mutex   // what siblings are told comes in its order
	told    atomic.Int64 // what they were told last of this worker's connections
	leaving atomic.Bool  // takes nothing that is offered; stored under tellMu

	mu      sync.Mutex // guards what follows
	loads   map[siblings.Tag]load
	waiting []net.Conn // for Accept
	held    []held     // for siblings that are away
	heldFor int        // bytes of those that were read
	more    chan struct{}
	closed  chan struct{}
}

// New returns an Exchange. It is called before the siblings are started.
func New(o *Options) *Exchange {
	e := &Exchange{siblings: o.Siblings, addr: o.Addr, conns: o.Conns, log: o.Logger, ticker: time.NewTicker(telling),
		loads: map[siblings.Tag]load{}, more: make(chan struct{}, 1), closed: make(chan struct{})}
	if e.conns == nil {
		e.conns = func() int { return 0 }
	}
	e.log = cmp.Or(e.log, slog.New(slog.DiscardHandler))
	e.proxy = e.newProxy()
	e.siblings.Take(siblings.Connections, e.receive)
	e.siblings.GiveBack(siblings.Connections, e.takeBack)
	e.siblings.Watch(e.watch)
	e.tasks.Go(e.tellOn)
	return e
}

// Counts are what an Exchange has done so far.
type Counts struct {
	Given   uint64 // connections given to the sibling that their request is for
	Offered uint64 // connections given to whoever had the fewest
	Proxied uint64 // requests
	Taken   uint64 // connections taken from siblings, proxied requests among them
}

// Counts returns them.
func (e *Exchange) Counts() Counts {
	return Counts{e.given.Load(), e.offered.Load(), e.proxied.Load(), e.taken.Load()}
}

// Moved is a connection that comes from a sibling.
type Moved struct {
	// FD is its descriptor, non-blocking and close-on-exec; the taker closes it.
	FD int
	// Read is what was read of it and not yet served; the taker's to keep.
	Read []byte
	// Remote is the client's address, where the descriptor does not know it: what is at
	// its other end is a sibling that proxies one request then. It is empty otherwise.
	Remote string
	// Offered says that it was for whoever has room. It is not to be passed on again, for
	// which the contexts of its requests are made by Stay.
	Offered bool
}

// Take has f called for each connection that a sibling gives, in place of Accept. f must
// not block. Take is called before the siblings are started.
func (e *Exchange) Take(f func(Moved)) { e.taker = f }

func (e *Exchange) receive(m siblings.Message) {
	if err := e.handle(m); err != nil {
		e.log.Warn("a sibling's message about connections is dropped", "sibling", m.From, "error", err)
	}
}

func (e *Exchange) handle(m siblings.Message) error {
	if m.FD < 0 {
		l, err := parseLoad(m.Payload)
		if err == nil {
			e.hear(m.From, l)
		}
		return err
	}
	what, remote, read, err := parseConnection(m.Payload)
	if err != nil {
		closeFD(m.FD)
		return err
	}
	if what == forStream {
		return e.takeStream(m.FD, read, remote)
	}
	if !e.deliver(Moved{FD: m.FD, Read: read, Remote: remote, Offered: what >= offered}) {
		e.late(m.FD, what, read)
		return nil
	}
	e.taken.Add(1)
	return nil
}

// deliver has the worker serve m; it is false when that takes none any more.
func (e *Exchange) deliver(m Moved) bool {
	if e.taker != nil {
		select {
		case <-e.closed:
			return false
		default:
		}
		e.taker(m)
		return true
	}
	return e.queue(m)
}

// late deals with a connection that comes when the worker takes none any more.
func (e *Exchange) late(fd int, what byte, read []byte) {
	defer closeFD(fd)
	switch {
	case what == forSession:
		answer(fd, gone) // with the others
	case what == lastOffer || e.offer(fd, read, what+1) != nil:
		if len(read) > 0 {
			answer(fd, busy)
		}
	}
}

// takeBack deals with a connection that a sibling has not got, since it was dropped first.
func (e *Exchange) takeBack(from siblings.Tag, message []byte, fd int) {
	what, _, read, err := parseConnection(message)
	switch {
	case err != nil, what == forStream: // not a message of this package; or its client sees that the stream ends
		closeFD(fd)
	case what == forSession:
		if !e.hold(fd, read, from) {
			answer(fd, gone)
		}
		closeFD(fd)
	case e.offer(fd, read, what) == nil:
		closeFD(fd)
	case !e.deliver(Moved{FD: fd, Read: read, Offered: true}):
		if len(read) > 0 {
			answer(fd, busy)
		}
		closeFD(fd)
	}
}

// queue has Accept return a connection, and is false after Close.
func (e *Exchange) queue(m Moved) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-e.closed:
		return false
	default:
	}
	nc, err := netConn(m.FD)
	if err != nil {
		e.log.Warn("a sibling's connection is lost", "error", err)
		return true
	}
	c := &resumed{Conn: nc, read: m.Read, offered: m.Offered}
	if m.Remote != "" {
		c.remote = address(m.Remote)
	}
	e.waiting = append(e.waiting, c)
	select {
	case e.more <- struct{}{}:
	default:
	}
	return true
}

// Accept implements net.Listener, for what siblings give.
func (e *Exchange) Accept() (net.Conn, error) {
	for {
		e.mu.Lock()
		if len(e.waiting) > 0 {
			c := e.waiting[0]
			e.waiting[0] = nil
			e.waiting = e.waiting[1:]
			e.mu.Unlock()
			return c, nil
		}
		e.waiting = nil
		e.mu.Unlock()
		select {
		case <-e.more:
		case <-e.closed:
			e.mu.Lock()
			none := len(e.waiting) == 0
			e.mu.Unlock()
			if none {
				return nil, net.ErrClosed
			}
		}
	}
}

// Addr implements net.Listener.
func (e *Exchange) Addr() net.Addr { return e.addr }

// Close implements net.Listener. What was taken before is still accepted; what comes
// after is told that its session is gone, or offered to another sibling. Connections can
// still be given to siblings.
func (e *Exchange) Close() error {
	e.Leave()
	e.mu.Lock()
	select {
	case <-e.closed:
		e.mu.Unlock()
		return nil
	default:
	}
	close(e.closed)
	e.mu.Unlock()
	e.ticker.Stop()
	e.tasks.Wait()
	e.review()
	return nil
}

// netConn makes a net.Conn of a descriptor, which it takes.
func netConn(fd int) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "connection")
	defer file.Close()
	return net.FileConn(file)
}

func closeFD(fd int) { _ = syscall.Close(fd) }

func duplicate(fd int) (int, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return own, os.NewSyscallError("fcntl", err)
}

// answer writes a short answer to a connection that is closed then.
func answer(fd int, response string) { _, _ = syscall.Write(fd, []byte(response)) }
