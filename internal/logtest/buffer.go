// Package logtest is for tests of what is logged.
package logtest

import (
	"bytes"
	"sync"
)

// Buffer is a log, or another output, that is read while it is written. The zero value is
// empty, and its methods may be called from any goroutine.
type Buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer. It does not fail.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is what has been written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
