package python

import (
	"os/exec"
	"syscall"
)

// pdeathsig says whether the kernel ends a child whose worker has ended.
const pdeathsig = true

func setDeathSignal(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
