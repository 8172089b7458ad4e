package golang

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

const modulePath = "github.com/chaussette/chaussette"

// sourceVariable names the folder of a checkout of chaussette, which apps whose module
// requires none are built with.
const sourceVariable = "CHAUSSETTE_SOURCE"

// source is the chaussette that goes with this program: a version, or a checkout.
type source struct {
	version string
	folder  string
}

func (s source) String() string { return s.version + s.folder }

// ownSource finds out what this program was made of.
func ownSource() (source, error) {
	if folder := os.Getenv(sourceVariable); folder != "" {
		folder, err := filepath.Abs(folder)
		if err == nil && !isCheckout(folder) {
			err = fmt.Errorf("%s is not the folder of a checkout of %s", folder, modulePath)
		}
		if err != nil {
			return source{}, fmt.Errorf("%s: %w", sourceVariable, err)
		}
		return source{folder: folder}, nil
	}
	version := ownVersion()
	if released(version) {
		return source{version: version}, nil
	}
	// Not trimmed, the name of this file leads to the checkout. Otherwise the program may
	// lie in it, as in bin.
	candidates := []string{}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		candidates = append(candidates, filepath.Dir(filepath.Dir(filepath.Dir(file))))
	}
	if executable, err := os.Executable(); err == nil {
		for folder := filepath.Dir(executable); folder != filepath.Dir(folder); folder = filepath.Dir(folder) {
			candidates = append(candidates, folder)
		}
	}
	for _, folder := range candidates {
		if isCheckout(folder) && !strings.Contains(folder, "@") { // in the module cache a version follows it
			return source{folder: folder}, nil
		}
	}
	if semver.IsValid(version) && semver.Build(version) == "" {
		return source{version: version}, nil
	}
	return source{}, fmt.Errorf("the app's module does not require %s, and this chaussette was built from a checkout that is gone: "+
		"go get %[1]s in the module, or set %s to the folder of a checkout", modulePath, sourceVariable)
}

// ownVersion is this module's version in this program, or empty.
func ownVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path == modulePath && m.Replace == nil && semver.IsValid(m.Version) {
			return m.Version
		}
	}
	return ""
}

// released tells a version that a proxy has from one that the go command made up for a
// checkout.
func released(version string) bool {
	return semver.IsValid(version) && semver.Build(version) == "" && !module.IsPseudoVersion(version)
}

func isCheckout(folder string) bool {
	text, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	return err == nil && modfile.ModulePath(text) == modulePath
}
