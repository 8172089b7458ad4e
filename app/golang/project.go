package golang

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/template"
	"unicode"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/chaussette/chaussette/internal/nearest"
)

//go:embed templates
var templates embed.FS

// Kind is a kind of project that [Project] begins.
type Kind struct {
	Name    string
	Backend string
	Help    string
}

// Kinds is the table of kinds. The files of each are in templates, beside those that all
// have in common.
var Kinds = []Kind{
	{"chat", "socketio", "a chat over Socket.IO"},
	{"websocket", "ws4py", "a WebSocket that passes messages on"},
	{"http", "http", "pages and JSON"},
}

func kindNames() []string {
	var names []string
	for _, k := range Kinds {
		names = append(names, k.Name)
	}
	return names
}

// Project is a module with a small app that is ready to run, its tests, and files for
// process managers.
type Project struct {
	Kind   string
	Folder string // is made, and must be empty if it is there
	Module string // the module's path; empty is the folder's name
}

// Create writes the project's files. If it fails it leaves none.
func (p *Project) Create(ctx context.Context) (err error) {
	var kind *Kind
	for i := range Kinds {
		if Kinds[i].Name == p.Kind {
			kind = &Kinds[i]
		}
	}
	if kind == nil {
		hint := ""
		if n := nearest.To(p.Kind, kindNames()); n != "" {
			hint = ", did you mean " + n + "?"
		}
		return usageError{fmt.Errorf("no kind of project %s%s (there are %s)", p.Kind, hint, strings.Join(kindNames(), ", "))}
	}
	folder, err := filepath.Abs(p.Folder)
	if err != nil {
		return err
	}
	if p.Module == "" {
		p.Module = filepath.Base(folder)
	}
	if err := module.CheckImportPath(p.Module); err != nil {
		return usageError{fmt.Errorf("%q cannot be a module's path, --module names another: %w", p.Module, err)}
	}
	entries, err := os.ReadDir(folder)
	switch {
	case err == nil && len(entries) > 0:
		return usageError{fmt.Errorf("%s is not empty: a project begins in a folder of its own", p.Folder)}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	made := err != nil
	files, err := p.files(ctx, kind)
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			return
		}
		for name := range files {
			_ = os.Remove(filepath.Join(folder, name))
		}
		if made {
			_ = os.Remove(folder)
		}
	}()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// files are the project's, by their names.
func (p *Project) files(ctx context.Context, kind *Kind) (map[string][]byte, error) {
	chain, err := newToolchain()
	if err != nil {
		return nil, err
	}
	mod, sums, local, err := p.goMod(ctx, chain)
	if err != nil {
		return nil, err
	}
	name := path.Base(p.Module)
	options := []string{"--backend", kind.Backend}
	data := map[string]any{
		"Name": name, "Package": packageName(name), "Local": local, "Go": goMinor(mod),
		"Options": strings.Join(options, " "), "OptionList": options, "Quoted": fmt.Sprintf("%q, %q", options[0], options[1]),
	}
	text, err := mod.Format()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"go.mod": text, "go.sum": sums}
	for _, folder := range []string{"templates/common", "templates/" + kind.Name} {
		all, err := template.ParseFS(templates, folder+"/*.tmpl")
		if err != nil {
			return nil, err
		}
		for _, t := range all.Templates() {
			var b bytes.Buffer
			if err := t.Execute(&b, data); err != nil {
				return nil, err
			}
			file := strings.TrimSuffix(strings.Replace(t.Name(), "NAME", name, 1), ".tmpl")
			if strings.HasSuffix(file, "ignore") {
				file = "." + file // hidden files would not be embedded
			}
			files[file] = b.Bytes()
		}
	}
	return files, nil
}

// goMod is the project's go.mod and go.sum: they require this chaussette and, as go mod
// tidy would write it, what that requires.
func (p *Project) goMod(ctx context.Context, chain *toolchain) (mod *modfile.File, sums []byte, local bool, err error) {
	from, err := ownSource()
	if err != nil {
		return nil, nil, false, err
	}
	version := from.version
	var ours *modfile.File
	if from.folder != "" {
		version = "v0.0.0"
		if ours, err = readModFile(from.folder); err == nil {
			sums, err = os.ReadFile(filepath.Join(from.folder, "go.sum"))
		}
	} else {
		ours, sums, err = chain.fetch(ctx, version)
	}
	if err != nil {
		return nil, nil, false, err
	}
	mod = &modfile.File{}
	if err := mod.AddModuleStmt(p.Module); err != nil {
		return nil, nil, false, err
	}
	if err := mod.AddGoStmt(ours.Go.Version); err != nil {
		return nil, nil, false, err
	}
	mod.AddNewRequire(modulePath, version, false)
	for _, r := range ours.Require {
		mod.AddNewRequire(r.Mod.Path, r.Mod.Version, true)
	}
	if from.folder != "" {
		err = mod.AddReplace(modulePath, "", from.folder, "")
	}
	mod.SetRequireSeparateIndirect(mod.Require)
	mod.Cleanup()
	return mod, sums, from.folder != "", err
}

// goMinor is the version of Go as images are named: 1.26.
func goMinor(mod *modfile.File) string {
	parts := strings.SplitN(mod.Go.Version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// packageName makes a package's name of a module's last word.
func packageName(word string) string {
	name := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, word)
	if !token.IsIdentifier(name) || name == "main" {
		return "app" + name
	}
	return name
}
