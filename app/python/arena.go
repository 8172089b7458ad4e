package python

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/internal/memfd"
)

const (
	// slotSize is how much of the shared memory one frame lends.
	slotSize = 64 << 10
	// requestSlots carry bodies to the child, responseSlots back. Memory that was
	// never used costs nothing, and slots are taken last in, first out.
	requestSlots  = 128
	responseSlots = 256
	// marks is how many requests at once may be granted their client's connection: those
	// whose id is less.
	marks = 4096

	slotsSize = (requestSlots + responseSlots) * slotSize
	arenaSize = slotsSize + 2*marks
)

// arena is memory that the worker and its child share, in slots. A slot is lent with a
// frame and comes back with a credit; the worker owns the first requestSlots, the child
// the rest. Where all are lent, bodies travel in frames. Behind the slots are the marks.
type arena struct {
	file *os.File
	mem  []byte

	mu   sync.Mutex
	free []uint32
	// users counts who may still touch mem: it is unmapped after the last.
	users  int
	closed bool
}

// newArena returns the shared memory, or nil where the system has none to offer.
func newArena() *arena {
	file, err := memfd.Create("chaussette", arenaSize)
	if err != nil {
		return nil
	}
	mem, err := unix.Mmap(int(file.Fd()), 0, arenaSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		file.Close()
		return nil
	}
	a := &arena{file: file, mem: mem}
	for i := requestSlots - 1; i >= 0; i-- {
		a.free = append(a.free, uint32(i))
	}
	return a
}

// take lends a slot of the request's half. The caller may write to it until it calls
// release.
func (a *arena) take() (slot uint32, ok bool) {
	if a == nil {
		return 0, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || len(a.free) == 0 {
		return 0, false
	}
	slot = a.free[len(a.free)-1]
	a.free = a.free[:len(a.free)-1]
	a.users++
	return slot, true
}

// put takes a slot of the request's half back.
func (a *arena) put(slot uint32) {
	if a == nil || slot >= requestSlots {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.free) < requestSlots {
		a.free = append(a.free, slot)
	}
}

// hold keeps the memory mapped until release.
func (a *arena) hold() {
	a.mu.Lock()
	a.users++
	a.mu.Unlock()
}

func (a *arena) release() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.users--
	a.unmapLocked()
}

// mark is what the child writes before the first byte of a response on a connection that was
// granted to the request of that id: the status, little endian. The worker clears it before, and
// looks at it when the child has crashed; otherwise a frame says so, with the response's end.
func (a *arena) mark(id uint32) []byte { return a.mem[slotsSize+2*id:][:2] }

func (a *arena) slot(i uint32) []byte { return a.mem[int(i)*slotSize:][:slotSize:slotSize] }

// close gives the memory back once no one holds it.
func (a *arena) close() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.closed = true
		a.file.Close()
		a.unmapLocked()
	}
}

func (a *arena) unmapLocked() {
	if a.closed && a.users == 0 {
		_ = unix.Munmap(a.mem)
		a.mem = nil
	}
}
