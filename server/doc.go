// Package server is a worker's life: it reads the command line, opens the app and the
// sockets, serves until it is told to stop, and ends without breaking a request.
//
// A program of one's own becomes a worker, with every option of the chaussette command,
// by calling [Main]:
//
//	func main() {
//		server.Main(http.HandlerFunc(hello))
//	}
//
// # Signals
//
//	SIGTERM, SIGINT  drain: accept no more, finish requests, end; a second one ends at once
//	SIGHUP           drain, then execute the program anew: same pid, same sockets
//	SIGUSR1          open the log files again
//
// # Exit status
//
//	0  after a drain
//	1  ended by a second signal, or while serving, by an error that the log has
//	2  the command line is wrong
//	3  the app, the socket or a hook failed to open
//	4  the app ended by itself: a Python app's process crashed
package server
