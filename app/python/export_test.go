package python

import "golang.org/x/sys/unix"

// SocketPair is what the pipe is made of.
var SocketPair = socketPair

// InFlight is how many requests the child has.
func (a *App) InFlight() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.child == nil {
		return 0
	}
	a.child.mu.Lock()
	defer a.child.mu.Unlock()
	return a.child.live
}

// LimitPassing has the system refuse to pass more than a few descriptors to the child at once.
func (a *App) LimitPassing() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.child.mu.Lock()
	defer a.child.mu.Unlock()
	return unix.SetsockoptInt(a.child.lends, unix.SOL_SOCKET, unix.SO_SNDBUF, 1) // the least there is
}

// Granted is how many responses were begun on a connection that came with the request.
func (a *App) Granted() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.child.mu.Lock()
	defer a.child.mu.Unlock()
	return a.child.granted
}

// ChildPID is 0 while there is no child.
func (a *App) ChildPID() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.child == nil {
		return 0
	}
	return a.child.pid
}
