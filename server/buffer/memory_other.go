//go:build !linux

package buffer

import "os"

// memoryFile opens a file in the temporary folder: there are none in memory.
func memoryFile() (*os.File, error) { return tempFile() }
