//go:build !linux

package python

import (
	"errors"
	"os"
)

func reopen(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }
