//go:build !linux

package python

import (
	"errors"
	"os"
)

// memoryFile is for Linux alone; elsewhere bodies travel in frames.
func memoryFile(string, int64) (*os.File, error) { return nil, errors.ErrUnsupported }
