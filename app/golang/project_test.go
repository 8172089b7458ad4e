package golang_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/app/golang"
)

// What chaussette new makes is in order and passes its own tests, on real workers.
func TestProjects(t *testing.T) {
	for _, kind := range golang.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(t.TempDir(), "my-"+kind.Name)
			out, err := command(t.TempDir(), "new", kind.Name, folder).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "chaussette --backend "+kind.Backend+" ./.App") {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, name := range []string{"circus.ini", "supervisord.conf", "my-" + kind.Name + ".socket", "my-" + kind.Name + "@.service", "Dockerfile"} {
				if text := read(t, filepath.Join(folder, name)); !strings.Contains(text, "my-"+kind.Name) || strings.Contains(text, "{{") {
					t.Errorf("%s:\n%s", name, text)
				}
			}
			for _, line := range []string{"gofmt -l .", "go vet ./...", "go test ./..."} {
				words := strings.Fields(line)
				cmd := exec.Command(words[0], words[1:]...)
				cmd.Dir = folder
				out, err := cmd.CombinedOutput()
				if err != nil || words[0] == "gofmt" && len(out) > 0 {
					t.Errorf("%s: %v\n%s", line, err, out)
				}
			}
		})
	}
}

func TestNewHelp(t *testing.T) {
	t.Parallel()
	out, err := command(t.TempDir(), "new", "--help").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "  --module path\n        path of the module") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestProjectRefused(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"full/file": ""})
	for line, want := range map[string]string{
		"":                                 "takes a kind",
		"http":                             "takes a kind",
		"htp x":                            "did you mean http?",
		"http full":                        "is not empty",
		"http white\x20space":              "takes a kind",
		"http x --module a/../b":           "cannot be a module's path",
		"http x --no-such-option=whatever": "no-such-option",
	} {
		cmd := command(folder, append([]string{"new"}, strings.Fields(line)...)...)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), want) {
			t.Errorf("chaussette new %s: status %d\n%s", line, cmd.ProcessState.ExitCode(), out)
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "x")); err == nil {
		t.Error("a project that was refused leaves its folder")
	}
}
