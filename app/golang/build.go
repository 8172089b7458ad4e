package golang

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/chaussette/chaussette/app"
)

// Build makes the program of the app that name names, ./chat.App or
// example.com/me/chat.App, unless the cache has it. Processes that ask for the same app
// at the same time build it once. log, if not nil, is told of what takes time.
//
// Errors are those of the go command ([CommandError]: what does not compile, with file and
// line), [NameError], [TypeError], [MainError], [ErrNoGo], and those of the file system.
// When ctx ends, what was begun is removed.
func Build(ctx context.Context, name string, log *slog.Logger) (*app.Program, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	t, err := parse(name)
	if err != nil {
		return nil, err
	}
	c, err := openCache()
	if err != nil {
		return nil, err
	}
	command, missing := findGo()
	key, err := t.key()
	if err != nil {
		return nil, err
	}
	if p := c.find(key, command); p != nil {
		return p, nil
	}
	if missing != nil {
		return nil, missing
	}
	if err := c.prepare(); err != nil {
		return nil, err
	}
	unlock, err := c.lock(ctx, key, func() { log.Info("Waiting for another worker that builds " + name) })
	if err != nil {
		return nil, err
	}
	defer unlock()
	if p := c.find(key, command); p != nil {
		return p, nil
	}
	return c.build(ctx, t, key, log)
}

// environment is what of the environment has a say in what a program becomes.
func environment() []string {
	var env []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		switch name {
		case "GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GOTRACEBACK", "GODEBUG", "GOCACHE", "GOTMPDIR", "GOOS", "GOARCH":
			continue // of the program when it runs, of the build alone, or not heeded
		case "CC", "CXX", "FC", "AR", "PKG_CONFIG", sourceVariable:
		default:
			if !strings.HasPrefix(name, "GO") && !strings.HasPrefix(name, "CGO_") {
				continue
			}
		}
		env = append(env, e)
	}
	slices.Sort(env)
	return env
}

// key is under what the manifest of the target is kept.
func (t *target) key() (string, error) {
	folder := t.folder
	if folder == "" { // an import path means what it does where the user stands
		wd, err := os.Getwd()
		if err != nil {
			return "", err
		}
		folder = wd
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q", append([]string{folder, t.pattern, t.export, Version}, environment()...))
	return hex.EncodeToString(h.Sum(nil)[:12]), nil
}

// Version is of the form of manifests and of generated programs.
const Version = "1"

// find returns the program of a manifest, if it is in the cache and nothing has changed
// that it was made of. command is the go command that would make it, or empty if there is
// none: then what was made is good.
func (c *cache) find(key, command string) *app.Program {
	m, err := readManifest(c.manifest(key))
	if err != nil {
		return nil
	}
	was, compiler := slices.Clone(m.Inputs), m.Go
	if command != "" && !m.madeBy(command) || !m.fresh() || !c.has(m.Program) {
		return nil
	}
	if compiler != m.Go || !slices.Equal(was, m.Inputs) {
		_ = m.write(c.manifest(key)) // what is the same under a new time is not read again; the cache may be read-only
	}
	return &app.Program{Path: c.program(m.Program), Folders: m.Folders}
}

func (m *manifest) madeBy(command string) bool { return m.Go.Path == command && m.Go.unchanged() }

// tries is how often a build begins anew because a source has changed in its course.
const tries = 3

func (c *cache) build(ctx context.Context, t *target, key string, log *slog.Logger) (*app.Program, error) {
	defer c.clean()
	for try := 1; ; try++ {
		p, err := c.buildOnce(ctx, t, key, log)
		if !errors.Is(err, errChanged) || try == tries {
			return p, err
		}
	}
}

func (c *cache) buildOnce(ctx context.Context, t *target, key string, log *slog.Logger) (*app.Program, error) {
	scratch, remove, err := c.scratch(key)
	if err != nil {
		return nil, err
	}
	defer remove()
	chain, err := newToolchain()
	if err != nil {
		return nil, err
	}
	removeTemporary, err := chain.temporary()
	if err != nil {
		return nil, err
	}
	defer removeTemporary()
	// It is to run here, whatever the environment says of other builds.
	chain.set("GOOS", runtime.GOOS)
	chain.set("GOARCH", runtime.GOARCH)
	flags := []string{"-buildvcs=false"}
	start := time.Now()
	job, err := prepare(ctx, chain, t, scratch, flags)
	if err != nil {
		return nil, err
	}
	m := &manifest{Folders: job.folders, Go: input{Path: chain.command, Kind: inputFile}}
	if m.Inputs, err = readAll(job.inputs); err != nil {
		return nil, err
	}
	if err := m.Go.read(); err != nil {
		return nil, err
	}
	main := job.main("Built", job.pkg.ImportPath+"."+t.export)
	m.Program = job.contentKey(m.Inputs, main, flags)
	if !c.has(m.Program) {
		log.Info("Building " + t.name)
		file := filepath.Join(scratch, programName)
		if err := job.compile(ctx, main, file, flags); err != nil {
			return nil, err
		}
		if !m.fresh() {
			return nil, fmt.Errorf("%s %w while it was built", t.name, errChanged)
		}
		if err := c.keep(m.Program, file); err != nil {
			return nil, err
		}
		log.Info("Built "+t.name, "duration", time.Since(start).Round(time.Millisecond))
	}
	if err := m.write(c.manifest(key)); err != nil {
		return nil, c.explain(err)
	}
	return &app.Program{Path: c.program(m.Program), Folders: m.Folders}, nil
}

// job is a build: the workspace, and what go list has told of the app.
type job struct {
	*workspace
	settings   *settings
	pkg        *listedPackage
	all        []*listedPackage
	expression string // of the Maker
	inputs     []input
	folders    []string
}

// prepare compiles the app's package and finds out how to serve it.
func prepare(ctx context.Context, chain *toolchain, t *target, scratch string, flags []string) (*job, error) {
	folder := t.folder
	if folder == "" {
		folder = chain.folder
	}
	s, err := chain.settings(ctx, folder)
	if err != nil {
		return nil, explain(err)
	}
	if t.folder != "" && s.GOMOD == "" && s.GOWORK == "" {
		return nil, fmt.Errorf("there is no go.mod in %s or above it: a Go app is in a module, which go mod init example.com/app makes", t.folder)
	}
	m, err := readModules(s)
	if err != nil {
		return nil, err
	}
	w, err := newWorkspace(ctx, chain, s, m, scratch, t.folder == "")
	if err != nil {
		return nil, explain(err)
	}
	j := &job{workspace: w, settings: s}
	if j.pkg, j.all, err = w.list(ctx, t, flags); err != nil {
		return nil, err
	}
	j.expression, err = choose(j.pkg.ImportPath, t.export, j.exports())
	if errors.Is(err, errSkew) {
		return nil, fmt.Errorf("%w: this chaussette was built with %s and the app is built with %s: install chaussette anew with that",
			err, runtime.Version(), s.GOVERSION)
	}
	if err != nil {
		return nil, err
	}
	j.inputs, j.folders = inputsOf(j.all, s.GOMODCACHE, scratch)
	j.inputs = append(j.inputs, moduleInputs(folder, s, m)...)
	return j, nil
}

// exports are the files of the compiler's export data, by import path.
func (j *job) exports() map[string]string {
	exports := map[string]string{}
	for _, p := range j.all {
		if p.Export != "" {
			exports[p.ImportPath] = p.Export
		}
	}
	return exports
}

// main is the program's text. entry is the function of package server that takes a Maker.
func (j *job) main(entry, name string) string {
	return fmt.Sprintf(`// Code generated by chaussette. DO NOT EDIT.

package main

import (
	%q
	%q

	it %q
)

func main() { server.%s(%q, %s) }
`, appPath, serverPath, j.pkg.ImportPath, entry, name, j.expression)
}

// contentKey is under what the program is kept: all that has a say in it.
func (j *job) contentKey(inputs []input, main string, flags []string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %q %q %q\n", j.settings.GOVERSION, flags, environment(), main)
	work, _ := os.ReadFile(filepath.Join(j.scratch, "go.work"))
	fmt.Fprintf(h, "%s\n", work)
	var folders []string
	for _, p := range j.all {
		if !p.Standard {
			fmt.Fprintf(h, "%s %s %q\n", p.ImportPath, p.Dir, p.files())
			folders = append(folders, p.Dir)
		}
	}
	for _, in := range inputs {
		if in.Kind == inputFile && slices.ContainsFunc(folders, func(f string) bool { return inside(in.Path, f) }) && filepath.Base(in.Path) != "go.sum" {
			fmt.Fprintf(h, "%s %s\n", in.Path, in.Sum)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// compile makes the program's file.
func (j *job) compile(ctx context.Context, main, file string, flags []string) error {
	folder, err := j.addMain(j.pkg, main)
	if err != nil {
		return err
	}
	args := append([]string{"-o", file}, flags...)
	// In the package's folder: the module's version is found out from there.
	where := j.pkg.Dir
	if folder == j.shim {
		where = j.shim
	}
	out, err := j.run(ctx, where, "build", append(args, "--", folder)...)
	if err == nil {
		_, err = os.Stdout.Write(out)
		return err
	}
	var failed *CommandError
	if errors.As(err, &failed) && strings.Contains(failed.Output, "undefined: server.") {
		return &versionError{lacks: "what the program calls in package server"}
	}
	return explain(err)
}
