package handover

import (
	"net"
	"syscall"
)

// resumed is a connection that begins with what another worker has read of it.
type resumed struct {
	net.Conn
	read   []byte
	remote net.Addr // the client's, where the descriptor does not know it

	offered bool // and not for a session that lives here
}

// address is a net.Addr as http.Request has it.
type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

func (c *resumed) Read(p []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(p, c.read)
		if c.read = c.read[n:]; len(c.read) == 0 {
			c.read = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// KeptAlive tells that the connection was idle between two requests, or is just beginning.
func (c *resumed) KeptAlive() bool { return c.offered && len(c.read) == 0 }

// RemoteAddr is the client's address.
func (c *resumed) RemoteAddr() net.Addr {
	if c.remote != nil {
		return c.remote
	}
	return c.Conn.RemoteAddr()
}

// NetConn is the connection itself, once what was read is read again; before, and where
// the connection does not know whose it is, it has no descriptor.
func (c *resumed) NetConn() net.Conn {
	if len(c.read) > 0 || c.remote != nil {
		return struct{ net.Conn }{c}
	}
	return c.Conn
}

// CloseWrite ends what this side sends.
func (c *resumed) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// SyscallConn gives access to the descriptor.
func (c *resumed) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, syscall.EINVAL
}
