package golang

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// mainFolder is where, below the app's package, the generated main seems to lie.
const mainFolder = "chaussette-main"

// shimModule is the module that requires chaussette for modules that do not, or not for
// all that package server imports.
const shimModule = "chaussette-worker"

// workspace is what the go command builds in: the user's modules and chaussette, joined
// by a go.work of ours.
type workspace struct {
	scratch string // our folder, for all that we write
	modules *modules
	go_     *toolchain
	overlay map[string]string
	flags   string // GOFLAGS
	// shim is the folder of shimModule, or empty.
	shim string
}

// newWorkspace writes the files of a workspace for the modules into the folder scratch.
//
// byPath: the app is known by an import path, and may be in a module of somebody else;
// its main then lies in the shim.
func newWorkspace(ctx context.Context, t *toolchain, s *settings, m *modules, scratch string, byPath bool) (*workspace, error) {
	w := &workspace{scratch: scratch, modules: m, go_: t, overlay: map[string]string{}, flags: s.GOFLAGS}
	work := &modfile.WorkFile{Syntax: &modfile.FileSyntax{}}
	language := ""
	use := func(folder string, file *modfile.File) error {
		if file.Go != nil && (language == "" || atLeast(file.Go.Version, language)) {
			language = file.Go.Version
		}
		return work.AddUse(folder, "")
	}
	for _, main := range m.list {
		if err := use(main.folder, main.file); err != nil {
			return nil, err
		}
	}
	replaces := w.userReplaces()
	var ours *modfile.File // chaussette's go.mod
	if own := m.own(); own != nil {
		ours = own.file
	}
	vendoredHere, err := w.vendorFolder()
	if err != nil {
		return nil, err
	}
	version := m.required()
	complete := slices.ContainsFunc(vendoredHere, func(v vendored) bool {
		return v.path == modulePath && slices.Contains(v.packages, serverPath) && slices.Contains(v.packages, appPath)
	})
	switch {
	case ours != nil || complete:
	case version == "":
		from, err := ownSource()
		if err != nil {
			return nil, err
		}
		if from.folder != "" {
			if ours, err = readModFile(from.folder); err != nil {
				return nil, err
			}
			if err := use(from.folder, ours); err != nil {
				return nil, err
			}
			break
		}
		version = from.version
		fallthrough
	default:
		if ours, err = w.addShim(ctx, version, replaces); err != nil {
			return nil, err
		}
		if err := use(w.shim, ours); err != nil {
			return nil, err
		}
	}
	if w.shim == "" && byPath {
		if err := w.writeShim(ours, nil); err != nil {
			return nil, err
		}
		if err := work.AddUse(w.shim, ""); err != nil {
			return nil, err
		}
	}
	for _, v := range vendoredHere {
		if !complete && ours != nil && requires(ours, v.path) {
			continue // the vendor folder may lack packages of it that chaussette imports
		}
		if err := w.replaceVendored(&replaces, v); err != nil {
			return nil, err
		}
	}
	for _, r := range replaces {
		if err := work.AddReplace(r.Old.Path, r.Old.Version, r.New.Path, r.New.Version); err != nil {
			return nil, err
		}
	}
	return w, w.write(work, language)
}

func requires(f *modfile.File, path string) bool {
	return path == modulePath || slices.ContainsFunc(f.Require, func(r *modfile.Require) bool { return r.Mod.Path == path })
}

func readModFile(folder string) (*modfile.File, error) {
	path := filepath.Join(folder, "go.mod")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return modfile.ParseLax(path, text, nil)
}

// userReplaces are those of the user's go.work. Those of the modules hold by themselves.
func (w *workspace) userReplaces() []*modfile.Replace {
	if w.modules.work == nil {
		return nil
	}
	return absoluteReplaces(filepath.Dir(w.modules.work.Syntax.Name), w.modules.work.Replace)
}

// vendorFolder reads the folder vendor, where there is one.
func (w *workspace) vendorFolder() ([]vendored, error) {
	if w.modules.vendor == "" {
		return nil, nil
	}
	return readVendored(w.modules.vendor)
}

// replaceVendored has the module's packages taken from the folder vendor. Its go.mod is not
// there: one of ours stands in, with the version of the language.
func (w *workspace) replaceVendored(replaces *[]*modfile.Replace, v vendored) error {
	folder := filepath.Join(w.modules.vendor, filepath.FromSlash(v.path))
	if len(v.packages) == 0 {
		return nil // required by others, and not compiled
	}
	text := "module " + v.path + "\n"
	if v.language != "" {
		text += "go " + v.language + "\n"
	}
	file, err := w.file(filepath.Join("vendor", strings.ReplaceAll(v.path, "/", "!")), text)
	if err != nil {
		return err
	}
	w.overlay[filepath.Join(folder, "go.mod")] = file
	*replaces = slices.DeleteFunc(*replaces, func(r *modfile.Replace) bool { return r.Old.Path == v.path })
	r := &modfile.Replace{}
	r.Old.Path, r.New.Path = v.path, "./vendor/"+v.path
	*replaces = append(*replaces, r)
	return nil
}

// addShim adds a module that requires this version of chaussette, and has the checksums
// of all that it needs. It returns chaussette's own go.mod.
func (w *workspace) addShim(ctx context.Context, version string, replaces []*modfile.Replace) (*modfile.File, error) {
	// The user's replaces decide where it is.
	for _, main := range w.modules.list {
		replaces = append(replaces, absoluteReplaces(main.folder, main.file.Replace)...)
	}
	for _, r := range replaces {
		if r.Old.Path == modulePath && r.New.Version == "" && (r.Old.Version == "" || r.Old.Version == version) {
			ours, err := readModFile(r.New.Path)
			if err != nil {
				return nil, err
			}
			sums, err := os.ReadFile(filepath.Join(r.New.Path, "go.sum"))
			if err != nil {
				return nil, err
			}
			return ours, w.writeShim(ours, sums, version)
		}
	}
	ours, sums, err := w.go_.fetch(ctx, version)
	if err != nil {
		return nil, err
	}
	return ours, w.writeShim(ours, sums, version)
}

// fetch has a version of chaussette in the module cache, and returns its go.mod, and the
// checksums of itself and of what it requires.
func (t *toolchain) fetch(ctx context.Context, version string) (ours *modfile.File, sums []byte, err error) {
	out, err := t.run(ctx, t.folder, "mod", "download", "-json", modulePath+"@"+version)
	var module struct{ Version, Dir, Sum, GoModSum, Error string }
	if e := json.Unmarshal(out, &module); e == nil && module.Error != "" {
		return nil, nil, fmt.Errorf("chaussette %s, which this app is built with: %s", version, module.Error)
	}
	if err != nil {
		return nil, nil, err
	}
	if ours, err = readModFile(module.Dir); err != nil {
		return nil, nil, err
	}
	if sums, err = os.ReadFile(filepath.Join(module.Dir, "go.sum")); err != nil {
		return nil, nil, err
	}
	sums = fmt.Appendf(sums, "%s %s %s\n%[1]s %[2]s/go.mod %[4]s\n", modulePath, module.Version, module.Sum, module.GoModSum)
	return ours, sums, nil
}

// writeShim writes the shim's go.mod, with the requirements of ours and of a version of
// chaussette, and its go.sum.
func (w *workspace) writeShim(ours *modfile.File, sums []byte, version ...string) error {
	f := &modfile.File{}
	if err := f.AddModuleStmt(shimModule); err != nil {
		return err
	}
	if err := f.AddGoStmt("1.21"); err != nil { // it has next to no code
		return err
	}
	if ours != nil {
		if ours.Go != nil {
			if err := f.AddGoStmt(ours.Go.Version); err != nil {
				return err
			}
		}
		for _, r := range ours.Require {
			f.AddNewRequire(r.Mod.Path, r.Mod.Version, true)
		}
	}
	for _, v := range version {
		f.AddNewRequire(modulePath, v, false)
	}
	text, err := f.Format()
	if err != nil {
		return err
	}
	if _, err := w.file("shim/go.mod", string(text)); err != nil {
		return err
	}
	if _, err := w.file("shim/go.sum", string(sums)); err != nil {
		return err
	}
	w.shim = filepath.Join(w.scratch, "shim")
	return nil
}

// write writes the go.work.
func (w *workspace) write(work *modfile.WorkFile, language string) error {
	if err := work.AddGoStmt(language); err != nil {
		return err
	}
	for key, value := range w.godebug(language) {
		if err := work.AddGodebug(key, value); err != nil {
			return err
		}
	}
	work.SortBlocks()
	work.Cleanup()
	path, err := w.file("go.work", string(modfile.Format(work.Syntax)))
	if err != nil {
		return err
	}
	if w.modules.vendor != "" {
		// Replacements by the folder vendor are relative to the go.work, since the program's
		// build information has them: it would tell one checkout from another.
		root := filepath.Dir(w.modules.vendor)
		sums, err := w.file("go.work.sum", "")
		if err != nil {
			return err
		}
		w.overlay[filepath.Join(root, "chaussette.work")] = path
		w.overlay[filepath.Join(root, "chaussette.work.sum")] = sums
		path = filepath.Join(root, "chaussette.work")
	}
	w.go_.set("GOWORK", path)
	return w.writeOverlay()
}

// godebug keeps the behaviour of the standard library that the user's module asks for: by
// its go.mod's version and settings, which our go.work would hide.
func (w *workspace) godebug(language string) map[string]string {
	settings := map[string]string{}
	add := func(lines []*modfile.Godebug, version *modfile.Go) {
		if version != nil && !atLeast(version.Version, language) {
			settings["default"] = "go" + semver.MajorMinor(canonicalGo(version.Version))[1:]
		}
		for _, line := range lines {
			settings[line.Key] = line.Value
		}
	}
	switch {
	case w.modules.work != nil:
		add(w.modules.work.Godebug, w.modules.work.Go)
	case len(w.modules.list) == 1:
		add(w.modules.list[0].file.Godebug, w.modules.list[0].file.Go)
	}
	return settings
}

// file writes a file of the scratch folder.
func (w *workspace) file(name, text string) (path string, err error) {
	path = filepath.Join(w.scratch, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func (w *workspace) writeOverlay() error {
	text, err := json.Marshal(map[string]any{"Replace": w.overlay})
	if err != nil {
		return err
	}
	_, err = w.file("overlay.json", string(text))
	return err
}

// run runs a subcommand of go in the workspace.
func (w *workspace) run(ctx context.Context, folder, subcommand string, args ...string) ([]byte, error) {
	all := []string{subcommand, "-overlay=" + filepath.Join(w.scratch, "overlay.json")}
	if strings.Contains(w.flags, "-mod=") {
		// The default, which the user has changed in a way that a workspace does not take.
		// Given without need it changes the message for an import that nobody provides.
		all = append(all, "-mod=readonly")
	}
	return w.go_.run(ctx, folder, append(all, args...)...)
}

// addMain places the program's main: below the package in one of the user's modules, else
// in the shim. It returns the folder to build.
func (w *workspace) addMain(pkg *listedPackage, text string) (folder string, err error) {
	if pkg.Module == nil || !pkg.Module.Main {
		_, err := w.file("shim/main.go", text)
		return w.shim, err
	}
	path, err := w.file("main.go", text)
	if err != nil {
		return "", err
	}
	folder = filepath.Join(pkg.Dir, mainFolder)
	w.overlay[filepath.Join(folder, "main.go")] = path
	return folder, w.writeOverlay()
}
