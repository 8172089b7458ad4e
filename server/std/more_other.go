//go:build !linux

package std

import "net"

// writeMore is for Linux alone; elsewhere what is written goes at once.
func writeMore(c net.Conn, p []byte) (int, error) { return c.Write(p) }
