package golang

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// FileOptions say how [BuildFile] makes a program. The zero value, and nil, make a static
// one for this machine, beside where the user stands.
type FileOptions struct {
	// Output is the file, or a folder for it; empty is the package's name here.
	Output string
	// Race adds the race detector, which needs cgo.
	Race bool
	// Flags are more flags of go build.
	Flags []string
	// Stderr gets what the go command says while it is at it; nil is nobody.
	Stderr io.Writer
}

// BuildFile makes a program of the app that name names, with every option of the
// chaussette command, and returns its file. It is static, where the environment does not
// set CGO_ENABLED; it bears the version of the app's module; and the same sources make the
// same bytes, wherever they lie. GOOS and GOARCH name another machine, as for go build.
//
// Its errors are those of [Build]. When ctx ends, what was begun is removed.
func BuildFile(ctx context.Context, name string, o *FileOptions) (file string, err error) {
	if o == nil {
		o = &FileOptions{}
	}
	t, err := parse(name)
	if err != nil {
		return "", err
	}
	chain, err := newToolchain()
	if err != nil {
		return "", err
	}
	chain.stderr = o.Stderr
	if os.Getenv("CGO_ENABLED") == "" {
		chain.set("CGO_ENABLED", map[bool]string{false: "0", true: "1"}[o.Race])
	}
	removeTemporary, err := chain.temporary()
	if err != nil {
		return "", err
	}
	defer removeTemporary()
	scratch, err := os.MkdirTemp("", "chaussette-build-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	if scratch, err = filepath.EvalSymlinks(scratch); err != nil {
		return "", err
	}
	flags := []string{"-trimpath"}
	if o.Race {
		flags = append(flags, "-race")
	}
	flags = append(flags, o.Flags...)
	job, err := prepare(ctx, chain, t, scratch, flags)
	if err != nil {
		return "", err
	}
	file, err = filepath.Abs(o.Output)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		file = filepath.Join(file, filepath.Base(job.pkg.ImportPath))
	}
	_, missing := os.Lstat(file)
	main := job.main("MainOf", job.pkg.ImportPath+"."+t.export)
	if err := job.compile(ctx, main, file, slices.Clone(flags)); err != nil {
		if errors.Is(missing, os.ErrNotExist) {
			_ = os.Remove(file)
		}
		return "", err
	}
	return file, nil
}
