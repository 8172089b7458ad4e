package python

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// findInterpreter turns Options.Interpreter into the path of a program.
func findInterpreter(name string) (string, error) {
	if name == "" {
		if env := os.Getenv("VIRTUAL_ENV"); env != "" {
			name = env
		}
	}
	if name == "" {
		if path, err := exec.LookPath("python3"); err == nil {
			return path, nil
		}
		// A process manager may start us without a PATH.
		for _, folder := range []string{"/usr/local/bin", "/usr/bin", "/bin"} {
			if path := filepath.Join(folder, "python3"); executable(path) {
				return path, nil
			}
		}
		return "", fmt.Errorf("no python3 found on the PATH %q: name an interpreter or a virtualenv with --python", os.Getenv("PATH"))
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		for _, program := range []string{"bin/python3", "bin/python"} {
			if path := filepath.Join(name, program); executable(path) {
				return path, nil
			}
		}
		return "", fmt.Errorf("%s is a folder without bin/python3: name an interpreter or a virtualenv", name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("python interpreter %s: %w", name, err)
	}
	return path, nil
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
