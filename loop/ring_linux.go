package loop

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is an io_uring (io_uring(7)), of which only this is used: some sends are put in, and
// one system call does them all. Whoever uses it does so alone.
type ring struct {
	fd      int
	shared  []byte // both queues' heads, tails and indices, mapped
	entries []byte // the submission queue entries, mapped

	sqHead, sqTail, cqHead, cqTail *uint32
	sqMask, cqMask                 uint32
	sqes                           []sqe
	cqes                           []cqe
}

// ringSize is how many sends one system call does at most. The caller's processor is away
// for as long as that takes.
const ringSize = 32

// sqe is struct io_uring_sqe.
type sqe struct {
	opcode   uint8
	flags    uint8
	ioprio   uint16
	fd       int32
	offset   uint64
	address  uint64
	length   uint32
	msgFlags uint32
	userData uint64
	_        [3]uint64
}

// cqe is struct io_uring_cqe.
type cqe struct {
	userData uint64
	result   int32
	flags    uint32
}

// ringParams is struct io_uring_params.
type ringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32
	sq                                                                     struct{ head, tail, ringMask, ringEntries, flags, dropped, array, _, _, _ uint32 }
	cq                                                                     struct{ head, tail, ringMask, ringEntries, overflow, cqes, flags, _, _, _ uint32 }
}

const (
	opSend         = 26
	enterGetEvents = 1
	offsetRing     = 0
	offsetEntries  = 0x10000000
	features       = 1 | 2 // IORING_FEAT_SINGLE_MMAP, IORING_FEAT_NODROP: Linux 5.5
	sqeSize        = 64
	cqeSize        = 16
)

// newRing fails where the system has no io_uring, or does not let this process have one, as
// in many containers.
func newRing() (*ring, error) {
	var p ringParams
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringSize, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", errno)
	}
	r := &ring{fd: int(fd)}
	if p.features&features != features {
		r.close()
		return nil, errors.New("io_uring: the kernel is older than 5.5")
	}
	size := max(int(p.sq.array)+int(p.sqEntries)*4, int(p.cq.cqes)+int(p.cqEntries)*cqeSize)
	var err error
	if r.shared, err = unix.Mmap(r.fd, offsetRing, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err == nil {
		r.entries, err = unix.Mmap(r.fd, offsetEntries, int(p.sqEntries)*sqeSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	}
	if err != nil {
		r.close()
		return nil, fmt.Errorf("io_uring: mmap: %w", err)
	}
	at := func(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.shared[offset])) }
	r.sqHead, r.sqTail, r.sqMask = at(p.sq.head), at(p.sq.tail), *at(p.sq.ringMask)
	r.cqHead, r.cqTail, r.cqMask = at(p.cq.head), at(p.cq.tail), *at(p.cq.ringMask)
	r.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&r.entries[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(&r.shared[p.cq.cqes])), p.cqEntries)
	for i, array := uint32(0), unsafe.Slice(at(p.sq.array), p.sqEntries); i < p.sqEntries; i++ {
		array[i] = i
	}
	return r, nil
}

func (r *ring) close() {
	if r.shared != nil {
		_ = unix.Munmap(r.shared)
	}
	if r.entries != nil {
		_ = unix.Munmap(r.entries)
	}
	unix.Close(r.fd)
}

// put adds a send, which does not wait: the i-th since the last submit, of at most ringSize.
func (r *ring) put(i int, fd int32, b []byte) {
	tail := *r.sqTail
	r.sqes[tail&r.sqMask] = sqe{opcode: opSend, fd: fd, address: uint64(uintptr(unsafe.Pointer(&b[0]))),
		length: uint32(len(b)), msgFlags: unix.MSG_NOSIGNAL | unix.MSG_DONTWAIT, userData: uint64(i)}
	atomic.StoreUint32(r.sqTail, tail+1)
}

// submit does the n sends that were put, and sets each one's result: how many bytes the
// socket took, or an error number, negative. What the kernel would not even look at is as
// if the socket had had no room.
func (r *ring) submit(n int, results []int32) {
	for i := range n {
		results[i] = -int32(unix.EAGAIN)
	}
	submitted, done := 0, 0
	for done < n {
		count, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd),
			uintptr(n-submitted), uintptr(n-done), enterGetEvents, 0, 0)
		done += r.reap(results)
		switch {
		case errno == unix.EINTR:
		case errno != 0 || count == 0 && submitted < n:
			if done == submitted { // the kernel has none of those that are left
				atomic.StoreUint32(r.sqTail, atomic.LoadUint32(r.sqHead))
				return
			}
			n = submitted // they will end: no send waits
			atomic.StoreUint32(r.sqTail, atomic.LoadUint32(r.sqHead))
		default:
			submitted += int(count)
		}
	}
}

func (r *ring) reap(results []int32) (done int) {
	head := *r.cqHead
	for tail := atomic.LoadUint32(r.cqTail); head != tail; head++ {
		c := &r.cqes[head&r.cqMask]
		results[c.userData] = c.result
		done++
	}
	atomic.StoreUint32(r.cqHead, head)
	return done
}
