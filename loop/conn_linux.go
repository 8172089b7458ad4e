package loop

import (
	"io"
	"os"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/loop/wheel"
)

// Conn is a connection on a Loop, to be embedded in what its Owner is. It is made ready
// by Group.Add. Its methods may be called from any goroutine; those that end in Locked
// by one that holds the lock.
type Conn struct {
	loop  *Loop
	owner Owner
	timer timer

	mu   sync.Mutex // guards what follows; an Owner may guard state of its own by it
	fd   int32      // -1 when closed; closed only by who runs the Conn
	bits bits
	owed int8    // takeovers less the returns of calls that were taken over
	read uint32  // when something was read last, by the loop's clock
	mark uint32  // how much is awaited, in bytes
	cork *[]byte // while Data runs: where writes go
	rest *queue  // what the socket has not taken, or nil
	err  *error  // why the Conn was cut, or nil
}

type bits uint16

const (
	armed    bits = 1 << iota // the loop's epoll knows of the Conn
	writing                   // and tells when it can be written
	busy                      // its Owner is called on a goroutine that does not lead the loop
	reading                   // the loop reads, and Data is called next
	left                      // the Owner lets the loop call Data again before it returns
	claimed                   // the Owner runs the Conn itself
	paused                    // the Owner wants no data
	cut                       // to be closed at once
	finished                  // to be closed when all is sent
	halved                    // to be shut down for writing when all is sent
	armedIn                   // epoll tells when it can be read
	armedOut                  // and when it can be written
	brief                     // read BriefRead bytes at most at once
	isQuick                   // the Owner's calls take no time
	taking                    // the Owner's Data calls TakenLocked
	awaiting                  // the Owner is told when mark bytes have come, in place of reading them
)

// timer makes a Conn an Expirer without making that a method of it.
type timer struct{ wheel.Timer }

// Lock locks the Conn's mutex.
func (c *Conn) Lock() { c.mu.Lock() }

// Unlock unlocks it.
func (c *Conn) Unlock() { c.mu.Unlock() }

// FDLocked is the file descriptor, -1 if the Conn is closed.
func (c *Conn) FDLocked() int { return int(c.fd) }

// corkSize is how much is gathered before it is written after all.
const corkSize = 64 << 10

// WriteLocked writes head and body: what the socket takes at once, and the rest later.
// It keeps neither, unless body is shared: then that must never change. While Data runs
// it only gathers.
func (c *Conn) WriteLocked(head, body []byte, shared bool) error {
	size := len(head) + len(body)
	switch {
	case c.fd < 0 || c.bits&cut != 0:
		return ErrClosed
	case c.cork != nil:
		if len(*c.cork)+size <= corkSize {
			*c.cork = append(append(*c.cork, head...), body...)
			return nil
		}
		gathered := *c.cork
		*c.cork = gathered[:0]
		c.sendLocked(gathered, nil, false)
	}
	c.sendLocked(head, body, shared)
	return nil
}

// FlushLocked sends what was gathered so far, where Data runs.
func (c *Conn) FlushLocked() {
	if c.cork == nil || len(*c.cork) == 0 || c.fd < 0 || c.bits&cut != 0 {
		return
	}
	gathered := *c.cork
	*c.cork = gathered[:0]
	c.sendLocked(gathered, nil, false)
}

// WriteFileLocked sends n bytes of f, from offset on, without a copy (sendfile(2)). f has to
// stay open, and nothing else may be written, until WaitingLocked is 0 or the Conn has ended.
// A file that turns out to be shorter cuts the Conn with io.ErrUnexpectedEOF.
func (c *Conn) WriteFileLocked(f *os.File, offset, n int64) error {
	if c.fd < 0 || c.bits&cut != 0 {
		return ErrClosed
	}
	c.FlushLocked()
	if n <= 0 {
		return nil
	}
	if c.rest == nil {
		c.rest = &queue{}
		c.bits |= writing
	}
	c.rest.file = &filePart{file: f, offset: offset, left: n}
	c.rest.bytes += n
	// What goes at once goes at once; the loop sends the rest.
	if err := c.rest.flush(int(c.fd)); err != nil {
		c.cutLocked(err)
		return nil
	}
	if c.rest.empty() {
		c.rest = nil
		c.bits &^= writing
	}
	c.armLocked()
	return nil
}

// sendLocked leaves errors for reading to find.
func (c *Conn) sendLocked(head, body []byte, shared bool) {
	if c.rest == nil {
		n, errno := send(c.fd, head, body)
		if n == len(head)+len(body) || errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
			return
		}
		taken := min(n, len(head))
		head, body = head[taken:], body[n-taken:]
	}
	c.queueLocked(head, body, shared)
}

// queueLocked has what the socket does not take sent when it does.
func (c *Conn) queueLocked(head, body []byte, shared bool) {
	if c.rest == nil {
		c.rest = &queue{}
		c.bits |= writing
		c.armLocked()
	}
	c.rest.push(head, false)
	c.rest.push(body, shared)
}

const small = 512

// send copies small bodies to their heads, which costs less than a list of both.
func send(fd int32, head, body []byte) (int, unix.Errno) {
	switch {
	case len(body) == 0:
		return sendOne(fd, head)
	case len(head) == 0:
		return sendOne(fd, body)
	case len(head)+len(body) <= small:
		return sendJoined(fd, head, body)
	}
	pieces := [2]unix.Iovec{{Base: &head[0]}, {Base: &body[0]}}
	pieces[0].SetLen(len(head))
	pieces[1].SetLen(len(body))
	n, _, errno := unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&pieces)), 2)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

func sendJoined(fd int32, head, body []byte) (int, unix.Errno) {
	var joined [small]byte
	n := copy(joined[:], head)
	n += copy(joined[n:], body)
	return sendOne(fd, joined[:n])
}

func sendOne(fd int32, b []byte) (int, unix.Errno) { return sendBytes(fd, b, 0) }

func sendBytes(fd int32, b []byte, flags uintptr) (int, unix.Errno) {
	if len(b) == 0 {
		return 0, 0
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL|flags, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// WaitingLocked is how many bytes the socket has not taken.
func (c *Conn) WaitingLocked() int64 {
	if c.rest == nil {
		return 0
	}
	return c.rest.bytes
}

// flush sends what has waited, now that the socket has room.
func (c *Conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 || c.rest == nil {
		return
	}
	if err := c.rest.flush(int(c.fd)); err != nil {
		c.cutLocked(err)
		return
	}
	if c.rest.empty() {
		c.rest = nil
		c.bits &^= writing
		c.armLocked()
		c.drainedLocked()
	}
	c.owner.SentLocked()
}

// drainedLocked does what was to be done when all is sent.
func (c *Conn) drainedLocked() {
	if c.bits&finished != 0 {
		c.cutLocked(nil)
	} else if c.bits&halved != 0 {
		unix.Shutdown(int(c.fd), unix.SHUT_WR)
	}
}

func (c *Conn) interestLocked() uint32 {
	events := uint32(unix.EPOLLIN)
	if c.bits&(paused|busy|claimed) != 0 {
		events = 0
	}
	if c.bits&writing != 0 {
		events |= unix.EPOLLOUT
	}
	return events
}

// armLocked makes the loop's epoll watch for what the Conn waits for. A paused Conn with
// nothing to write is not watched at all, for epoll tells of a hang-up unasked and again
// and again.
func (c *Conn) armLocked() {
	if c.fd < 0 {
		return
	}
	wanted := c.bits&(busy|claimed) == 0 && (c.bits&paused == 0 || c.bits&cut != 0) || c.bits&writing != 0
	events := c.interestLocked()
	how := armed
	if events&unix.EPOLLIN != 0 {
		how |= armedIn
	}
	if events&unix.EPOLLOUT != 0 {
		how |= armedOut
	}
	switch {
	case wanted && c.bits&armed == 0:
		if err := c.loop.control(unix.EPOLL_CTL_ADD, c.fd, events); err != nil {
			c.unwatchedLocked(err)
			return
		}
	case wanted && c.bits&watched == how:
		return
	case wanted:
		_ = c.loop.control(unix.EPOLL_CTL_MOD, c.fd, events)
	case c.bits&armed != 0:
		how = 0
		_ = c.loop.control(unix.EPOLL_CTL_DEL, c.fd, 0)
	default:
		return
	}
	c.bits = c.bits&^watched | how
}

const watched = armed | armedIn | armedOut

// unwatchedLocked ends a Conn of which nobody would hear any more.
func (c *Conn) unwatchedLocked(err error) {
	if c.bits&cut == 0 {
		c.err = &err
		c.bits |= cut
		unix.Shutdown(int(c.fd), unix.SHUT_RDWR)
	}
	go func() {
		c.mu.Lock()
		// Where the Owner is just called, the Conn ends, or is armed again, afterwards.
		if c.fd < 0 || c.bits&(busy|claimed) != 0 || c.cork != nil {
			c.mu.Unlock()
			return
		}
		c.endLocked(c.cause(nil))
	}()
}

// PauseLocked stops reading, after what Data is called with now.
func (c *Conn) PauseLocked() {
	if c.bits&paused == 0 {
		c.bits |= paused
		c.armLocked()
	}
}

// ResumeLocked reads again.
func (c *Conn) ResumeLocked() {
	if c.bits&paused != 0 {
		c.bits &^= paused
		c.armLocked()
	}
}

// QuickLocked says of an Owner that its calls never take long: they are made without anybody who
// watches how long they take, which costs a wake-up for each [Patience].
func (c *Conn) QuickLocked() { c.bits |= isQuick }

// BriefRead is how much is read at once of a Conn that BriefLocked was called of, in bytes.
const BriefRead = 16 << 10

// BriefLocked says whether to read little at once: for an Owner who may want to leave the
// rest to somebody else.
func (c *Conn) BriefLocked(on bool) {
	if on {
		c.bits |= brief
	} else {
		c.bits &^= brief
	}
}

// ReadLocked reads into b what has come, for the Owner of a Conn that is paused, while nobody
// else reads (see ReadingLocked). Nothing is 0 and unix.EAGAIN. 0 without an error is the end,
// which, as any other error, the loop finds itself after ResumeLocked.
func (c *Conn) ReadLocked(b []byte) (int, error) {
	if c.fd < 0 || c.bits&cut != 0 {
		return 0, ErrClosed
	}
	if len(b) == 0 {
		return 0, unix.EAGAIN
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(c.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	c.read = c.loop.clock()
	return int(n), nil
}

// BusyLocked reports whether what comes cannot be seen, since Data runs or is not wanted.
func (c *Conn) BusyLocked() bool { return c.bits&(busy|claimed|paused) != 0 || c.cork != nil }

// CutLocked closes the Conn soon, sent or not; Ended is called with err. Only the first
// call counts.
func (c *Conn) CutLocked(err error) { c.cutLocked(err) }

func (c *Conn) cutLocked(err error) {
	if c.fd < 0 || c.bits&cut != 0 {
		return
	}
	if err != nil {
		c.err = &err
	}
	c.bits |= cut
	// The loop closes it: it hears of a hang-up now.
	unix.Shutdown(int(c.fd), unix.SHUT_RDWR)
	c.bits &^= paused
	c.armLocked()
}

// FinishLocked closes the Conn when all that was written is sent.
func (c *Conn) FinishLocked() {
	if c.fd >= 0 {
		c.bits |= finished
		if c.rest == nil && c.cork == nil {
			c.drainedLocked()
		}
	}
}

// HalveLocked ends what this side sends when all is sent: the peer sees the end of the
// stream, and what it still sends is read.
func (c *Conn) HalveLocked() {
	if c.fd >= 0 {
		c.bits |= halved
		if c.rest == nil && c.cork == nil {
			c.drainedLocked()
		}
	}
}

// LastReadLocked is when something was read last, by a clock of the loop's.
func (c *Conn) LastReadLocked() uint32 { return c.read }

// SilentLocked is for how long nothing was read, about.
func (c *Conn) SilentLocked() time.Duration {
	return time.Duration(c.loop.clock()-c.read) * clockTick
}

// AtRoundEnd has r called when the loop has served all that it has found ready, so that what
// many Owners want done is done at once: several calls with the same r make one. Where the
// loop serves nothing, r is called now.
func (c *Conn) AtRoundEnd(r Rounder) {
	if !c.InRound(r) {
		r.EndRound()
	}
}

// InRound is AtRoundEnd, but for a loop that serves nothing: then it is false, and r is not
// called. The Conn may be locked.
func (c *Conn) InRound(r Rounder) bool {
	l := c.loop
	l.roundMu.Lock()
	defer l.roundMu.Unlock()
	if l.inRound && !slices.Contains(l.atEnd, r) {
		l.atEnd = append(l.atEnd, r)
	}
	return l.inRound
}

// SetDeadline has the Owner's Expire called in d, or a little later (an eighth of it at
// most). It replaces the deadline before; zero or less means none.
func (c *Conn) SetDeadline(d time.Duration) {
	if d <= 0 {
		c.loop.wheel.Stop(&c.timer.Timer)
		return
	}
	c.loop.wheel.Set(&c.timer.Timer, c, d, min(d/8, time.Second))
}

// Expire is for the wheel.
func (c *Conn) Expire(*wheel.Timer) { c.owner.Expire() }

// ready reads once and calls the Owner. It runs on one goroutine at a time. What the Owner
// writes is gathered only where a slow Owner would be noticed.
func (c *Conn) ready(w *worker, events uint32, gather bool) {
	c.mu.Lock()
	fd := c.fd
	if fd < 0 {
		c.mu.Unlock()
		return
	}
	if c.bits&cut != 0 {
		c.endLocked(c.cause(nil))
		return
	}
	if c.bits&paused != 0 {
		if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 { // epoll would tell it for ever
			c.endLocked(unix.ECONNRESET)
			return
		}
		c.mu.Unlock() // the event is older than the pause
		return
	}
	if c.bits&awaiting != 0 {
		c.awaited()
		return
	}
	c.bits |= reading
	size := len(w.buffer)
	if c.bits&brief != 0 {
		size = BriefRead
	}
	c.mu.Unlock()
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&w.buffer[0])), uintptr(size), 0, 0, 0)
	c.mu.Lock()
	if c.bits&taking == 0 || errno != 0 || n == 0 {
		c.bits &^= reading
	}
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		c.mu.Unlock()
		return
	case errno != 0:
		c.endLocked(c.cause(errno))
		return
	case n == 0:
		if h, ok := c.owner.(HalfCloser); ok {
			c.mu.Unlock()
			stays := h.PeerEnded()
			c.mu.Lock()
			if c.fd < 0 {
				c.mu.Unlock()
				return
			}
			if stays {
				c.PauseLocked() // there is nothing more to read
				c.mu.Unlock()
				return
			}
		}
		c.endLocked(c.cause(io.EOF))
		return
	}
	if gather {
		c.cork = &w.answer
	}
	c.read = c.loop.now.Load()
	c.mu.Unlock()
	more := c.owner.Data(w.buffer[:n])
	c.mu.Lock()
	c.bits &^= left
	if c.fd < 0 { // detached
		w.answer = w.answer[:0]
		c.mu.Unlock()
		return
	}
	if !more {
		c.bits |= finished
	}
	c.uncorkLocked(c.bits&(finished|cut) == finished)
	if c.bits&cut != 0 || c.bits&finished != 0 && c.rest == nil {
		c.endLocked(c.cause(nil))
		return
	}
	if c.bits&halved != 0 && c.rest == nil {
		c.drainedLocked()
	}
	c.mu.Unlock()
}

// cause is why the Conn ends: what it was cut for, if it was.
func (c *Conn) cause(otherwise error) error {
	switch {
	case c.bits&cut == 0:
		return otherwise
	case c.err != nil:
		return *c.err
	}
	return nil
}

// uncorkLocked sends what Data has written. If it is the last, the end of the stream goes
// in the same segment.
func (c *Conn) uncorkLocked(last bool) {
	if c.cork == nil {
		return
	}
	gathered := *c.cork
	switch {
	case len(gathered) == 0 || c.fd < 0 || c.bits&cut != 0:
	case last && c.rest == nil:
		n, errno := sendBytes(c.fd, gathered, unix.MSG_MORE)
		if errno == 0 || errno == unix.EAGAIN || errno == unix.EINTR {
			if n < len(gathered) {
				c.queueLocked(gathered[n:], nil, false)
				break
			}
		}
		// Not by closing: that resets the connection where something has come that
		// nobody read, and what MSG_MORE holds back would be lost.
		_, _, _ = unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(c.fd), unix.SHUT_WR, 0)
	default:
		c.sendLocked(gathered, nil, false)
	}
	*c.cork = gathered[:0]
	c.cork = nil
}

// endLocked closes the Conn, unlocks it and tells its Owner.
func (c *Conn) endLocked(err error) {
	fd := c.fd
	c.fd, c.rest, c.cork = -1, nil, nil
	c.mu.Unlock()
	c.loop.wheel.Stop(&c.timer.Timer)
	c.loop.group.remove(fd)
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	c.owner.Ended(err)
	c.loop.group.open.Add(-1)
}

// takenOver is called when another goroutine leads the loop while this Conn's Owner is
// still called.
func (c *Conn) takenOver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owed++; c.owed <= 0 {
		return // the call has returned already
	}
	if c.bits&left == 0 {
		c.bits |= busy
	}
	c.uncorkLocked(false)
	c.armLocked()
}

// LeaveLocked is for an Owner whose Data is about to take long, and needs the loop for
// nothing any more: should the call outlast Patience, Data is called with what comes next
// before it has returned. What was read stays valid until it returns.
func (c *Conn) LeaveLocked() {
	c.bits |= left
	if c.bits&busy != 0 { // it runs aside
		c.bits &^= busy
		c.armLocked()
	}
}

// ClaimLocked keeps the loop from the Conn, and reports whether it could. Whoever claims it
// may do what else the Owner's calls do, until StartLocked. The loop may still be about to
// return from Data.
func (c *Conn) ClaimLocked() bool {
	if c.fd < 0 || c.bits&claimed != 0 {
		return false
	}
	c.bits |= claimed
	c.armLocked()
	return true
}

func (c *Conn) isBusy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bits&busy != 0
}

// StartLocked gives the Conn to the loop, to which it does not belong after Group.Add and
// ClaimLocked.
func (c *Conn) StartLocked() {
	if c.bits&claimed == 0 {
		return
	}
	c.bits &^= claimed
	c.read = c.loop.now.Load()
	c.armLocked()
}

// ReadingLocked reports that the loop has something in its hands that Data is about to be
// called with, if it is not nothing. Where the Owner's Data does not call TakenLocked this ends
// a moment before Data is called.
func (c *Conn) ReadingLocked() bool { return c.bits&reading != 0 }

// TakingLocked says that the Owner's Data calls TakenLocked, as one's has to that may read the
// Conn itself meanwhile: what the loop has in its hands came first.
func (c *Conn) TakingLocked() { c.bits |= taking }

// TakenLocked is called by Data, with the first lock that it takes: what it was called with is
// the Owner's to put in order from now on.
func (c *Conn) TakenLocked() { c.bits &^= reading }

// DetachLocked takes the descriptor from the loop, or returns -1 if the Conn is closed. The
// Owner is called no more. It may be called while Data runs, and not while ReadingLocked.
func (c *Conn) DetachLocked() int {
	fd := c.fd
	if fd < 0 || c.bits&cut != 0 {
		return -1
	}
	if c.bits&armed != 0 {
		_ = c.loop.control(unix.EPOLL_CTL_DEL, fd, 0)
	}
	c.StopAwaitLocked()
	c.bits &^= watched | writing
	c.fd, c.rest, c.cork = -1, nil, nil
	c.loop.wheel.Stop(&c.timer.Timer)
	c.loop.group.remove(fd)
	c.loop.group.open.Add(-1)
	return int(fd)
}

// MoveLocked is DetachLocked and Group.Add of the descriptor to another Conn, which stays on
// the loop, and in its epoll: the kernel hears nothing of it. It is false if c is closed.
func (c *Conn) MoveLocked(to *Conn, owner Owner) bool {
	fd := c.fd
	if fd < 0 || c.bits&cut != 0 {
		return false
	}
	c.StopAwaitLocked()
	to.loop, to.owner, to.fd, to.read = c.loop, owner, fd, c.read
	to.bits = claimed | c.bits&watched
	c.bits &^= watched | writing
	c.fd, c.rest, c.cork = -1, nil, nil
	c.loop.wheel.Stop(&c.timer.Timer)
	c.loop.group.page(int(fd))[fd%pageSize].Store(to)
	return true
}

// done is called when the Owner's call has returned on a goroutine that does not lead.
func (c *Conn) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owed--; c.owed < 0 {
		return // whoever takes over has not come so far
	}
	c.idleLocked()
}

// doneAside is done for a call of runAside.
func (c *Conn) doneAside() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idleLocked()
}

func (c *Conn) idleLocked() {
	if c.bits&busy != 0 {
		c.bits &^= busy
		c.armLocked()
	}
}
