package golang

import (
	"os/exec"
	"syscall"
)

// ownGroup puts the command into a process group of its own, which is interrupted as a
// whole: the go command and its compilers end then, and remove what they have made.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
}
