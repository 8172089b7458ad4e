package golang

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// listedPackage is a package as go list tells of it.
type listedPackage struct {
	Dir, ImportPath, Name, Export string
	Standard, DepOnly             bool
	Module                        *struct {
		Path, Version, Dir string
		Main               bool
	}
	GoFiles, CgoFiles, CFiles, CXXFiles, MFiles, HFiles, FFiles, SFiles, SwigFiles, SwigCXXFiles, SysoFiles []string
	EmbedPatterns, EmbedFiles                                                                               []string
}

// files are all that the package is compiled from, relative to its folder.
func (p *listedPackage) files() []string {
	var all []string
	for _, names := range [][]string{p.GoFiles, p.CgoFiles, p.CFiles, p.CXXFiles, p.MFiles, p.HFiles, p.FFiles, p.SFiles,
		p.SwigFiles, p.SwigCXXFiles, p.SysoFiles, p.EmbedFiles} {
		all = append(all, names...)
	}
	return all
}

const listedFields = "-json=Dir,ImportPath,Name,Export,Standard,DepOnly,Module,GoFiles,CgoFiles,CFiles,CXXFiles,MFiles,HFiles," +
	"FFiles,SFiles,SwigFiles,SwigCXXFiles,SysoFiles,EmbedPatterns,EmbedFiles"

// list compiles the app's package and the server's, and tells what they are made of.
func (w *workspace) list(ctx context.Context, t *target, flags []string) (pkg *listedPackage, all []*listedPackage, err error) {
	args := append([]string{"-export", "-deps", listedFields}, flags...)
	out, err := w.run(ctx, w.go_.folder, "list", append(args, "--", t.pattern, appPath, serverPath)...)
	if err != nil {
		return nil, nil, explain(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		p := new(listedPackage)
		if err := decoder.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, fmt.Errorf("go list: %w", err)
		}
		all = append(all, p)
		if p.ImportPath == t.pattern || t.folder != "" && p.Dir == t.folder {
			if pkg != nil && pkg != p {
				return nil, nil, fmt.Errorf("%s is more than one package", t.pattern)
			}
			pkg = p
		}
	}
	switch {
	case pkg == nil:
		return nil, nil, fmt.Errorf("go list knows no package %s", t.pattern)
	case pkg.Name == "main":
		return nil, nil, &MainError{Package: t.pattern, Name: t.export}
	}
	return pkg, all, nil
}

// MainError says that the app is in a package main, which no other package can import.
type MainError struct{ Package, Name string }

func (e *MainError) Error() string {
	return e.Package + " is a package main, which cannot be imported: move " + e.Name +
		" into a package of its own, or have its main call server.Main(" + e.Name + ") and run it as it is: it has every option then"
}

// explain adds to what the go command says how it can be helped, where that is known.
func explain(err error) error {
	var failed *CommandError
	if !errors.As(err, &failed) {
		return err
	}
	for _, known := range []struct{ says, hint string }{
		{"no space left on device", "the disk is full; GOCACHE, TMPDIR and CHAUSSETTE_CACHE say where is written"},
		{"read-only file system", "GOCACHE and TMPDIR say where the go command writes, which must be possible"},
		{"permission denied", "GOCACHE and TMPDIR say where the go command writes, which must be possible"},
		{"build cache is required", "set HOME or GOCACHE; Circus passes them on with copy_env = True"},
		{"go.mod file not found", "a Go app is in a module: go mod init example.com/app in its folder makes one"},
		{"requires go >= ", "chaussette needs that version of Go"},
		{"build constraints exclude all Go files", "this package may need cgo, which is off in a static program: CGO_ENABLED=1 turns it on"},
	} {
		if strings.Contains(failed.Output, known.says) {
			return fmt.Errorf("%w\n(%s)", err, known.hint)
		}
	}
	return err
}
