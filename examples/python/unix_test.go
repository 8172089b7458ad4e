package examples_test

import (
	"context"
	"net"
	"net/http"
)

// unixTransport sends every request, on a connection of its own, to a Unix socket.
func unixTransport(path string) *http.Transport {
	return &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}
}
