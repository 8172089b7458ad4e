package golang_test

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// chaussette build makes the same bytes of the same sources in any folder, with their
// version, and the program takes every option.
func TestBuildFile(t *testing.T) {
	t.Parallel()
	git := func(folder string, args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", folder, "-c", "user.name=n", "-c", "user.email=e"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	one := files(t, map[string]string{"go.mod": bareMod, "internal/chat/it.go": hello("chat", "built")})
	git(one, "init", "-q")
	git(one, "add", ".")
	git(one, "commit", "-qm", "one")
	git(one, "tag", "v1.4.2")
	two := filepath.Join(t.TempDir(), "two")
	git(one, "clone", "-q", one, two)
	var programs [2][]byte
	for i, folder := range []string{one, two} {
		output := filepath.Join(t.TempDir(), "worker")
		cmd := command(folder, "build", "-o", output, "-buildvcs=true", "./internal/chat.App")
		cmd.Env = append(cmd.Env, "TMPDIR="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		programs[i] = []byte(read(t, output))
		if i == 1 {
			continue
		}
		version, err := exec.Command(output, "--version").Output()
		if err != nil || !strings.HasPrefix(string(version), "worker v1.4.2, chaussette ") {
			t.Errorf("--version says %q, %v", version, err)
		}
		file, err := elf.NewFile(bytes.NewReader(programs[0]))
		if err != nil {
			t.Fatal(err)
		}
		if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 {
			t.Errorf("it is not static: %v, %v", libraries, err)
		}
		serving := exec.Command(output, "--backend", "waitress")
		serving.Env = os.Environ()
		s := startCmd(t, serving)
		if got := s.get("/"); !strings.HasPrefix(got, "built ") {
			t.Errorf("it answers %q", got)
		}
		s.stop(syscall.SIGTERM)
	}
	if !bytes.Equal(programs[0], programs[1]) {
		t.Error("another folder makes another program")
	}
}

func TestBuildUsage(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"go.mod": bareMod, "it.go": hello("it", "x"), "main/main.go": "package main\n\nvar App int\n\nfunc main() {}\n"})
	for line, c := range map[string]struct {
		status int
		want   string
	}{
		"":                              {2, "makes one app's program"},
		"./.App ./.App":                 {2, "there are 2"},
		"-overlay=x ./.App":             {2, "overlay"},
		"--no-such-flag ./.App":         {2, "no-such-flag"},
		"hello":                         {2, "is no Go app"},
		"--cache -o x ./.App":           {2, "nothing else to choose"},
		"./main.App":                    {3, "package main, which cannot be imported"},
		"./.Ap":                         {3, "did you mean App?"},
		"-tags=x -o /dev/null/x ./.App": {3, "/dev/null"},
	} {
		cmd := command(folder, append([]string{"build"}, strings.Fields(line)...)...)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != c.status || !strings.Contains(string(out), c.want) {
			t.Errorf("chaussette build %s: %v\n%s\nwant status %d and %q", line, err, out, c.status, c.want)
		}
	}
	out, err := command(folder, "build", "--help").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "-ldflags flags") {
		t.Errorf("--help: %v\n%s", err, out)
	}
}
