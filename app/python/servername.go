package python

import (
	"net"
	"strconv"
	"strings"
	"sync"
)

// serverName is where the app is served: the port it came to, and the name it is known by.
func (c *child) serverName(local net.Addr, host, scheme string) (name, port string) {
	if name, port = c.opts.ServerName, "80"; scheme == "https" {
		port = "443"
	}
	if tcp, ok := local.(*net.TCPAddr); ok {
		at := c.names.of(tcp)
		if name == "" {
			name = at.name
		}
		return name, at.port
	}
	// A Unix socket has neither: what the client has asked for is the best answer.
	if h, p, err := net.SplitHostPort(host); err == nil && p != "" {
		host, port = bracketed(h), p
	}
	if name == "" {
		name = host
	}
	if name == "" {
		name = "localhost"
	}
	return name, port
}

// addressNames are the texts of the server's addresses, of which there are few.
type addressNames struct{ known sync.Map }

type addressName struct{ name, port string }

// nowhere is the usual place of a child that has had no request.
var nowhere = new(addressName)

func (n *addressNames) of(a *net.TCPAddr) *addressName {
	if known, ok := n.known.Load(a); ok {
		return known.(*addressName)
	}
	known, _ := n.known.LoadOrStore(a, &addressName{bracketed(a.IP.String()), strconv.Itoa(a.Port)})
	return known.(*addressName)
}

// usualAt is the name and port that the child takes for those of a request which gives none:
// the first that there were.
func (c *child) usualAt(name, port string) *addressName {
	if at := c.usual.Load(); at != nowhere {
		return at
	}
	c.usual.CompareAndSwap(nowhere, &addressName{strings.Clone(name), strings.Clone(port)})
	return c.usual.Load()
}

// bracketed is a host as a URL has it, and so SERVER_NAME (RFC 3875, 4.1.14): an IPv6 address
// in brackets.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
