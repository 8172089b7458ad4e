package python

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
