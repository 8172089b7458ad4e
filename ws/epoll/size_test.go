//go:build linux

package epoll

import (
	"testing"
	"unsafe"
)

// An idle connection is little more than this; 288 is a size that Go allocates.
func TestSizeOfConn(t *testing.T) {
	if size := unsafe.Sizeof(conn{}); size > 288 {
		t.Errorf("a conn has %d bytes", size)
	}
}
