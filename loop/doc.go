// Package loop has event loops: a goroutine waits by epoll for thousands of connections,
// reads what has come into a buffer of its own, and calls the connection's Owner with it.
// An idle connection is its Conn and nothing else: no goroutine, no buffer, no timer of
// the runtime.
//
// Owners are called on the loop's goroutine, for that is the fastest way there is. One
// that takes longer than Patience loses the loop: the goroutine that watches makes
// another one the leader, which goes on with the other connections, while the slow
// Owner's goroutine serves that one connection to its end and leaves. Where Owners turn
// out to be slow again and again, they get a goroutine each until they are fast again.
// So an Owner may block, and holds up nobody else.
//
// The package works on Linux.
package loop
