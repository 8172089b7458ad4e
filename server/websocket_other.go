//go:build !linux

package server

import (
	"net"

	"github.com/chaussette/chaussette/listener"
)

// front is for systems with event loops.
func (w *Worker) front(_ *sockets, l *listener.Listener) net.Listener { return l }
