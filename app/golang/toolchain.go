package golang

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// toolchain is the go command and what it is run with.
type toolchain struct {
	command string
	folder  string // where it is run: the user's current one, so that paths are relative to it
	env     []string
	stderr  io.Writer // gets what the go command says, also where it succeeds; or nil
}

// ErrNoGo: there is no go command.
var ErrNoGo = errors.New("there is no go command on PATH, which a Go app is built with. Install Go (https://go.dev/dl), " +
	"or build the app where there is one, with chaussette build, and run what that makes here")

// usualPlaces are where Go is installed, for a process that was given no PATH.
var usualPlaces = []string{"/usr/local/go/bin/go", "/usr/lib/go/bin/go", "/opt/homebrew/bin/go", "/snap/bin/go"}

// findGo returns the path of the go command.
func findGo() (string, error) {
	if path, err := exec.LookPath("go"); err == nil {
		return filepath.Abs(path)
	}
	if os.Getenv("PATH") == "" {
		for _, path := range usualPlaces {
			if found, err := exec.LookPath(path); err == nil {
				return found, nil
			}
		}
		return "", fmt.Errorf("%w. PATH is empty here: Circus passes it on with copy_env = True", ErrNoGo)
	}
	return "", ErrNoGo
}

// home is the user's home folder: what HOME says, else what the system's list of users does,
// since a process manager may give an empty environment.
func home() (string, error) {
	if h := os.Getenv("HOME"); h != "" {
		return h, nil
	}
	if u, err := user.Current(); err == nil && u.HomeDir != "" {
		return u.HomeDir, nil
	}
	return "", fmt.Errorf("HOME is not set, and user %d is not in the system's list of users: "+
		"set HOME (Circus passes it on with copy_env = True)", os.Getuid())
}

func newToolchain() (*toolchain, error) {
	command, err := findGo()
	if err != nil {
		return nil, err
	}
	home, err := home()
	if err != nil {
		return nil, err
	}
	wd, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	if wd, err = filepath.EvalSymlinks(wd); err != nil {
		return nil, err
	}
	t := &toolchain{command: command, folder: wd, env: os.Environ()}
	t.set("HOME", home)
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/bin:/usr/bin:/bin" // git, and a C compiler
	}
	t.set("PATH", path)
	return t, nil
}

// temporary gives the go command a folder of its own for temporary files: when it is
// interrupted it does not always remove them.
func (t *toolchain) temporary() (remove func(), err error) {
	folder, err := os.MkdirTemp(os.Getenv("GOTMPDIR"), "chaussette-build-")
	if err != nil {
		return nil, fmt.Errorf("no room for the compiler's temporary files (GOTMPDIR or TMPDIR name another folder): %w", err)
	}
	t.set("GOTMPDIR", folder)
	return func() { _ = os.RemoveAll(folder) }, nil
}

func (t *toolchain) set(name, value string) {
	t.env = slices.DeleteFunc(slices.Clone(t.env), func(e string) bool { return strings.HasPrefix(e, name+"=") })
	t.env = append(t.env, name+"="+value)
}

// CommandError is what the go command had to say when it failed: a package that does not
// compile, an import that nobody provides.
type CommandError struct {
	Output string // as it printed it: file:line:column: message
	Err    error
}

func (e *CommandError) Error() string {
	if e.Output == "" {
		return "go: " + e.Err.Error()
	}
	return e.Output
}

// Unwrap returns how it ended.
func (e *CommandError) Unwrap() error { return e.Err }

// run runs the go command. ctx ends it and all that it has started.
func (t *toolchain) run(ctx context.Context, folder string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, t.command, args...)
	cmd.Dir = folder
	cmd.Env = append(slices.Clone(t.env), "PWD="+folder)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	ownGroup(cmd)
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		endGroup(cmd)
	}
	if t.stderr != nil && err == nil {
		_, _ = t.stderr.Write(stderr.Bytes())
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return stdout.Bytes(), &CommandError{Output: strings.TrimSpace(stderr.String()), Err: err}
	}
	return stdout.Bytes(), nil
}

// settings are what go env says, as far as it matters here.
type settings struct {
	GOMOD, GOWORK, GOVERSION, GOMODCACHE, GOROOT, GOENV, GOFLAGS, GOHOSTOS, GOHOSTARCH string
}

func (t *toolchain) settings(ctx context.Context, folder string) (*settings, error) {
	out, err := t.run(ctx, folder, "env", "-json",
		"GOMOD", "GOWORK", "GOVERSION", "GOMODCACHE", "GOROOT", "GOENV", "GOFLAGS", "GOHOSTOS", "GOHOSTARCH")
	if err != nil {
		return nil, err
	}
	s := new(settings)
	if err := json.Unmarshal(out, s); err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	if s.GOMOD == os.DevNull {
		s.GOMOD = ""
	}
	if s.GOWORK == "off" {
		s.GOWORK = ""
	}
	return s, nil
}
