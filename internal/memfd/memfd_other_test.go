//go:build !linux

package memfd_test

import (
	"errors"
	"testing"

	"github.com/chaussette/chaussette/internal/memfd"
)

func TestCreate(t *testing.T) {
	if file, err := memfd.Create("x", 0); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v, %v", file, err)
	}
}
