//go:build !linux

package python

import "os/exec"

// Elsewhere the end of the pipe alone tells the child that its worker is gone.
const pdeathsig = false

func setDeathSignal(*exec.Cmd) {}
