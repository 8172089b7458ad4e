package webtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Chaussette is the import path of the chaussette command.
const Chaussette = "github.com/chaussette/chaussette"

// built are the programs that were built, by package.
var built struct {
	sync.Mutex
	folder   string
	programs map[string]*program
}

type program struct {
	once sync.Once
	path string
	err  error
}

// Build builds the main package pkg, an import path or a path that begins with a dot,
// and returns the program's path. It builds a package once, however often it is called,
// with the race detector where the test has it. Safe for concurrent use.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	p, folder, err := programOf(pkg)
	if err != nil {
		t.Fatal(err)
	}
	p.once.Do(func() {
		p.path = filepath.Join(folder, fmt.Sprintf("%d-%s", len(pkg), filepath.Base(pkg)))
		args := []string{"build", "-o", p.path}
		if raceEnabled {
			args = append(args, "-race")
		}
		if out, err := exec.Command("go", append(args, pkg)...).CombinedOutput(); err != nil {
			p.err = fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
		}
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.path
}

func programOf(pkg string) (p *program, folder string, err error) {
	built.Lock()
	defer built.Unlock()
	if built.folder == "" {
		if built.folder, err = os.MkdirTemp("", "webtest-"); err != nil {
			return nil, "", err
		}
		built.programs = map[string]*program{}
	}
	if built.programs[pkg] == nil {
		built.programs[pkg] = &program{}
	}
	return built.programs[pkg], built.folder, nil
}

// Main runs a package's tests and removes what they built. TestMain calls it:
//
//	func TestMain(m *testing.M) { os.Exit(webtest.Main(m)) }
func Main(m *testing.M) int {
	status := m.Run()
	built.Lock()
	defer built.Unlock()
	if built.folder != "" {
		if err := os.RemoveAll(built.folder); err != nil {
			fmt.Fprintln(os.Stderr, "webtest:", err)
			return max(status, 1)
		}
	}
	return status
}
