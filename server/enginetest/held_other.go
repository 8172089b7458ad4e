//go:build !linux

package enginetest

import "testing"

// systemTests are those of what this system can do: bodies are held on Linux alone.
func (e engine) systemTests() map[string]func(*testing.T) { return nil }
