package golang

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// modules are those that the app's package is looked for in: one, or all of a workspace,
// or none.
type modules struct {
	list []*mainModule
	work *modfile.WorkFile // of the user, or nil
	// vendor is the folder vendor that the go command would use, or empty.
	vendor string
}

type mainModule struct {
	folder string
	file   *modfile.File
}

// readModules reads the go.mod, or the go.work and its go.mods.
func readModules(s *settings) (*modules, error) {
	m := &modules{}
	root, folders := "", []string{}
	switch {
	case s.GOWORK != "":
		text, err := os.ReadFile(s.GOWORK)
		if err != nil {
			return nil, err
		}
		if m.work, err = modfile.ParseWork(s.GOWORK, text, nil); err != nil {
			return nil, err
		}
		root = filepath.Dir(s.GOWORK)
		for _, use := range m.work.Use {
			folders = append(folders, absolute(root, use.Path))
		}
	case s.GOMOD != "":
		root = filepath.Dir(s.GOMOD)
		folders = append(folders, root)
	}
	for _, folder := range folders {
		path := filepath.Join(folder, "go.mod")
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		file, err := modfile.Parse(path, text, nil)
		if err != nil {
			return nil, err
		}
		m.list = append(m.list, &mainModule{folder, file})
	}
	if vendor := filepath.Join(root, "vendor"); root != "" && usesVendor(s, m) {
		if _, err := os.Stat(filepath.Join(vendor, "modules.txt")); err == nil {
			m.vendor = vendor
		}
	}
	return m, nil
}

// usesVendor tells whether the go command looks into the folder vendor where there is one
// (go help modules): since go 1.14, in a workspace since 1.22, unless it is told not to.
func usesVendor(s *settings, m *modules) bool {
	for _, flag := range strings.Fields(s.GOFLAGS) {
		if mode, ok := strings.CutPrefix(strings.TrimPrefix(flag, "-"), "-mod="); ok {
			return mode == "vendor"
		}
		if mode, ok := strings.CutPrefix(flag, "-mod="); ok {
			return mode == "vendor"
		}
	}
	if m.work != nil {
		return m.work.Go != nil && atLeast(m.work.Go.Version, "1.22")
	}
	return len(m.list) == 1 && m.list[0].file.Go != nil && atLeast(m.list[0].file.Go.Version, "1.14")
}

// own tells whether one of the modules is chaussette itself.
func (m *modules) own() *mainModule {
	for _, main := range m.list {
		if main.file.Module != nil && main.file.Module.Mod.Path == modulePath {
			return main
		}
	}
	return nil
}

// required is the version of chaussette that the modules require, or empty.
func (m *modules) required() string {
	version := ""
	for _, main := range m.list {
		for _, r := range main.file.Require {
			if r.Mod.Path == modulePath && (version == "" || semver.Compare(r.Mod.Version, version) > 0) {
				version = r.Mod.Version
			}
		}
	}
	return version
}

// vendored is a module in a folder vendor, as its modules.txt tells.
type vendored struct {
	path     string
	version  string
	language string // its version of Go, "1.17", or empty
	packages []string
}

// readVendored reads modules.txt.
func readVendored(folder string) ([]vendored, error) {
	text, err := os.ReadFile(filepath.Join(folder, "modules.txt"))
	if err != nil {
		return nil, err
	}
	var all []vendored
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "## "):
			for part := range strings.SplitSeq(line[3:], ";") {
				if v, ok := strings.CutPrefix(strings.TrimSpace(part), "go "); ok && len(all) > 0 {
					all[len(all)-1].language = v
				}
			}
		case strings.HasPrefix(line, "# ") && len(fields) >= 2:
			v := vendored{path: fields[1]}
			if len(fields) > 2 && fields[2] != "=>" {
				v.version = fields[2]
			}
			all = append(all, v)
		case line != "" && len(all) > 0:
			last := &all[len(all)-1]
			last.packages = append(last.packages, line)
		}
	}
	return all, nil
}

// absolute resolves a path of a go.mod or go.work in folder.
func absolute(folder, path string) string {
	path = filepath.FromSlash(path)
	if !filepath.IsAbs(path) {
		path = filepath.Join(folder, path)
	}
	return path
}

// absoluteReplaces are the replaces of a file in folder, as they are said elsewhere.
func absoluteReplaces(folder string, replaces []*modfile.Replace) []*modfile.Replace {
	var all []*modfile.Replace
	for _, r := range replaces {
		c := *r
		if c.New.Version == "" {
			c.New.Path = absolute(folder, c.New.Path)
		}
		all = append(all, &c)
	}
	return all
}

// atLeast compares versions of Go: 1.9, 1.21, 1.26.0.
func atLeast(version, least string) bool {
	return semver.Compare(canonicalGo(version), canonicalGo(least)) >= 0
}

// canonicalGo makes a semantic version of a version of Go: 1.21rc1 is v1.21.0-rc1.
func canonicalGo(version string) string {
	for i, r := range version {
		if r != '.' && (r < '0' || r > '9') {
			base := version[:i]
			if strings.Count(base, ".") == 1 {
				base += ".0"
			}
			return "v" + base + "-" + version[i:]
		}
	}
	return "v" + version
}
