package webtest_test

import (
	"bufio"
	"io"
	"os/exec"
	"testing"

	"github.com/chaussette/chaussette/internal/logtest"
)

// script is a program of Node, which answers lines with lines, and ends with its standard input.
type script struct {
	t      *testing.T
	stdin  io.Writer
	lines  *bufio.Scanner
	stderr *logtest.Buffer
}

func startScript(t *testing.T, folder string, args ...string) *script {
	t.Helper()
	cmd := exec.Command("node", args...)
	cmd.Dir = folder
	s := &script{t: t, stderr: &logtest.Buffer{}}
	cmd.Stderr = s.stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.stdin, s.lines = stdin, bufio.NewScanner(stdout)
	s.lines.Buffer(nil, 64<<20)
	if err := cmd.Start(); err != nil {
		t.Fatal(err, ": make setup installs node")
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() && s.stderr.String() != "" {
			t.Logf("%v says:\n%s", args, s.stderr)
		}
	})
	return s
}

func (s *script) line() string {
	s.t.Helper()
	if !s.lines.Scan() {
		s.t.Fatalf("the script has ended: %s", s.stderr)
	}
	return s.lines.Text()
}
