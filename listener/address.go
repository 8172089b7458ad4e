package listener

import (
	"net"
	"strconv"
	"strings"
)

// Address composes what Open takes from the two options of a command line: a host that
// is itself an address (unix:, fd://, systemd) stays as it is, any other gets the port.
// An IPv6 host may come with or without its brackets.
func Address(host string, port int) string {
	if strings.HasPrefix(host, "unix:") || strings.HasPrefix(host, "fd:") ||
		host == "systemd" || strings.HasPrefix(host, "systemd:") {
		return host
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// family is the kind of an address, which is also how its sockets come to be.
type family int

const (
	familyTCP family = iota
	familyUnix
	familyFD
	familySystemd
)

// address is what Open was asked for, taken apart.
type address struct {
	family family
	host   string // TCP; "" is every address of the machine
	port   string // TCP; a number or the name of a service
	path   string // Unix; begins with "@" in the abstract namespace
	fd     int    // FD
	name   string // systemd; "" is every socket
}

// maxUnixPath is the longest path of a Unix socket in bytes: sun_path of unix(7) less
// its final zero. On macOS it is shorter, and bind says so.
const maxUnixPath = 107

// parseAddress takes s apart. Its errors are of type *net.AddrError.
func parseAddress(s string) (address, error) {
	switch {
	case strings.HasPrefix(s, "unix:"):
		return parseUnix(s)
	case strings.HasPrefix(s, "fd:"):
		return parseFD(s)
	case s == "systemd":
		return address{family: familySystemd}, nil
	case strings.HasPrefix(s, "systemd:"):
		name := strings.TrimPrefix(s, "systemd:")
		if name == "" || strings.Contains(name, ":") {
			return address{}, &net.AddrError{Err: "systemd: wants one FileDescriptorName= after the colon", Addr: s}
		}
		return address{family: familySystemd, name: name}, nil
	}
	return parseTCP(s)
}

// parseUnix reads unix:PATH. The form unix://PATH of older configurations named the
// path "//PATH", which is /PATH: so it does here.
func parseUnix(s string) (address, error) {
	path := strings.TrimPrefix(s, "unix:")
	if strings.HasPrefix(path, "//") {
		path = "/" + strings.TrimLeft(path, "/")
	}
	switch {
	case path == "" || path == "/" || path == "@":
		return address{}, &net.AddrError{Err: "no path after unix:", Addr: s}
	case strings.HasSuffix(path, "/"):
		return address{}, &net.AddrError{Err: "a folder is no place to listen on", Addr: s}
	case strings.ContainsRune(path, 0):
		return address{}, &net.AddrError{Err: "a path holds no zero byte (the abstract namespace is unix:@name)", Addr: s}
	case len(path) > maxUnixPath:
		return address{}, &net.AddrError{Err: "the path of a Unix socket has at most " + strconv.Itoa(maxUnixPath) + " bytes", Addr: s}
	}
	return address{family: familyUnix, path: path}, nil
}

// parseFD reads fd://N.
func parseFD(s string) (address, error) {
	number, ok := strings.CutPrefix(s, "fd://")
	if !ok {
		return address{}, &net.AddrError{Err: "a file descriptor is written fd://N", Addr: s}
	}
	if strings.ContainsAny(number, "$(") {
		return address{}, &net.AddrError{Err: "the process manager has not put a number in its place (does it know the socket's name, and share its sockets with this program?)", Addr: s}
	}
	fd, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return address{}, &net.AddrError{Err: "a file descriptor is a number, 0 or more", Addr: s}
	}
	return address{family: familyFD, fd: int(fd)}, nil
}

func parseTCP(s string) (address, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		// SplitHostPort says what is wrong with the colons and brackets.
		if addr, ok := err.(*net.AddrError); ok {
			err = &net.AddrError{Err: addr.Err + " (want host:port, unix:/path, fd://N or systemd)", Addr: s}
		}
		return address{}, err
	}
	switch {
	case strings.ContainsAny(host+port, "/ \x00"):
		return address{}, &net.AddrError{Err: "not a host name and a port (want host:port, unix:/path, fd://N or systemd)", Addr: s}
	case port == "":
		return address{}, &net.AddrError{Err: "no port after the colon", Addr: s}
	}
	if number, err := strconv.Atoi(port); err == nil && (number < 0 || number > 65535) {
		return address{}, &net.AddrError{Err: "a port is a number up to 65535", Addr: s}
	}
	if host == "*" {
		host = ""
	}
	return address{family: familyTCP, host: host, port: port}, nil
}

// String writes the address so that parseAddress reads it as the same.
func (a address) String() string {
	switch a.family {
	case familyUnix:
		return "unix:" + a.path
	case familyFD:
		return "fd://" + strconv.Itoa(a.fd)
	case familySystemd:
		if a.name == "" {
			return "systemd"
		}
		return "systemd:" + a.name
	}
	return net.JoinHostPort(a.host, a.port)
}
