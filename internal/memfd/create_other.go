//go:build !linux

package memfd

import (
	"errors"
	"os"
)

func create(string) (*os.File, error) { return nil, errors.ErrUnsupported }
