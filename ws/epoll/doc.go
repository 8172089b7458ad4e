// Package epoll is the WebSocket engine of `--backend ws4py`: connections on the event
// loops of package loop, read and unmasked in place. A connection that is idle holds no
// goroutine and no buffer.
//
// A Handler is called on the loop; it may block, see package loop. A plain Conn works as
// well: Read waits on the caller's goroutine for what the loop has taken in.
package epoll
