package listener

import (
	"syscall"
	_ "unsafe" // for go:linkname
)

// The runtime lends a processor (one of GOMAXPROCS) to a system call until its monitor
// takes it back, which looks every 20 µs at best and every 10 ms at worst. That is
// right for calls that are over soon. For accept it would mean that with each connection one
// processor stands still for a while: with one processor, as in a container of one CPU,
// new connections were measured to wait 10 ms to 20 ms at the 99th percentile beside busy
// keep-alive ones, against 3 ms to 6 ms with these, and as much as with the poller.
//
// These two are what the runtime itself blocks with. It keeps them, with their signatures, for
// packages outside (proc.go names gVisor). Should a release take them away, this
// package does not link, and syscall.Syscall6 is the substitute.

//go:linkname entersyscallblock runtime.entersyscallblock
//go:nosplit
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
//go:nosplit
func exitsyscall()

// blockingSyscall is syscall.Syscall6 for a call that will block: it gives the processor
// away at once. Nothing may grow the stack between the two calls, hence nosplit, and nothing may
// be instrumented, hence norace.
//
//go:nosplit
//go:norace
//go:uintptrescapes
func blockingSyscall(trap, a1, a2, a3, a4, a5, a6 uintptr) (uintptr, syscall.Errno) {
	entersyscallblock()
	r, _, errno := syscall.RawSyscall6(trap, a1, a2, a3, a4, a5, a6)
	exitsyscall()
	return r, errno
}
