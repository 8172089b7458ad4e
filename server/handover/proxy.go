package handover

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"syscall"

	"github.com/chaussette/chaussette/listener/siblings"
)

// owner is to whom a request is proxied, and whose it is.
type owner struct {
	tag    siblings.Tag
	remote string
}

type ownerKey struct{}

// newProxy makes what carries the requests whose connection cannot move.
func (e *Exchange) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "sibling"
			r.Out.Host = r.In.Host
			// The sibling is to see what this worker has seen, not another hop.
			for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				if values := r.In.Header[name]; values != nil {
					r.Out.Header[name] = values
				}
			}
		},
		Transport: &http.Transport{
			DialContext:        e.dial,
			DisableKeepAlives:  true, // each connection is one client's
			DisableCompression: true,
		},
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(e.log.Handler(), slog.LevelWarn),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				e.log.Warn("a request could not be proxied to a sibling", "error", err)
			}
			w.WriteHeader(http.StatusBadGateway)
		},
	}
}

// dial gives a sibling one end of a socket pair, and returns the other.
func (e *Exchange) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	to, ok := ctx.Value(ownerKey{}).(owner)
	if !ok {
		return nil, errors.New("a request for nobody")
	}
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	err = control(theirs, func(fd int) error {
		return e.siblings.HandOver(to.tag, siblings.Connections, appendConnection(nil, forSession, to.remote), fd)
	})
	if err != nil {
		ours.Close()
		return nil, err
	}
	return ours, nil
}

// pair returns two connections with one another.
func pair() (ours, theirs *net.UnixConn, err error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	var ends [2]*net.UnixConn
	var errs [2]error
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "pair")
		var c net.Conn
		if c, errs[i] = net.FileConn(file); errs[i] == nil {
			ends[i] = c.(*net.UnixConn)
		}
		file.Close()
	}
	if err := errors.Join(errs[0], errs[1]); err != nil {
		for _, c := range ends {
			if c != nil {
				c.Close()
			}
		}
		return nil, nil, err
	}
	return ends[0], ends[1], nil
}
