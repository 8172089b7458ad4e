package webtransport

// Abandon closes the socket, and tells nobody: as the end of a process that was killed.
func (l *Listener) Abandon() { _ = l.socket.Close() }
