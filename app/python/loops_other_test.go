//go:build !linux

package python_test

import (
	"testing"

	"github.com/chaussette/chaussette/app/python"
)

// useLoops does nothing where there are no event loops.
func useLoops(*testing.T, *python.App) {}
