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

// endGroup kills what is left of an interrupted command's group: a compiler that does not
// end by SIGINT, or that was started at the very moment and did not hear of it.
func endGroup(cmd *exec.Cmd) {
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
}
