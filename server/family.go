package server

import (
	"context"
	"fmt"
	"net"

	"github.com/chaussette/chaussette/listener"
)

// inFamily is address with the host replaced by one of its addresses in family, where
// address is a host and a port and family is AF_INET or AF_INET6. Other addresses stay
// as they are: what they are is for checkFamily to say.
func inFamily(ctx context.Context, address, family string) (string, error) {
	network := map[string]string{"AF_INET": "ip4", "AF_INET6": "ip6"}[family]
	host, port, err := net.SplitHostPort(address)
	if network == "" || err != nil || host == "unix" || host == "systemd" || host == "fd" {
		return address, nil
	}
	if host == "" {
		host = map[string]string{"ip4": "0.0.0.0", "ip6": "::"}[network]
		return net.JoinHostPort(host, port), nil
	}
	if host == "localhost" { // whatever /etc/hosts has
		host = map[string]string{"ip4": "127.0.0.1", "ip6": "::1"}[network]
		return net.JoinHostPort(host, port), nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
	if err != nil {
		return "", fmt.Errorf("%s has no address of the family %s: %w", host, family, err)
	}
	return net.JoinHostPort(ips[0].Unmap().String(), port), nil
}

// checkFamily reports a socket that is of another family than was asked for. The socket
// decides: Chaussette 1 had to be told, and configurations that told it wrong exist.
func (w *Worker) checkFamily(listeners listener.Listeners) {
	for _, l := range listeners {
		if is := familyOf(l.Addr()); w.config.Family != "" && w.config.Family != is {
			w.log.Warn("--address-family is not the family of the socket, which is served as it is",
				"asked", w.config.Family, "socket", is)
		}
	}
}

func familyOf(a net.Addr) string {
	switch a := a.(type) {
	case *net.UnixAddr:
		return "AF_UNIX"
	case *net.TCPAddr:
		if a.IP.To4() != nil {
			return "AF_INET"
		}
	}
	return "AF_INET6"
}
