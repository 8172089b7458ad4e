package golang

import (
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/chaussette/chaussette/internal/nearest"
)

// shape is a type that an app may have.
type shape struct {
	what string // for the user
	// maker is the function of package app that takes it.
	maker string
}

// shapes is the table of what an app may be, in the order in which it is tried. Whether
// an app is of a shape the Go type checker says: it is if the maker can be called with it.
var shapes = []shape{
	{"an http.Handler (as a *Server of go-socket.io is)", "FromHandler"},
	{"a func(http.ResponseWriter, *http.Request)", "FromFunc"},
	{"a func() http.Handler", "FromNew"},
	{"a func() (http.Handler, error)", "FromOpen"},
	{"a socketio.App", "FromSocketIO"},
	{"a ws.Handler", "FromWebSocket"},
}

const (
	appPath    = modulePath + "/app"
	serverPath = modulePath + "/server"
)

// errSkew: chaussette was built by an older Go than the one that is used now.
var errSkew = errors.New("the compiler's output cannot be read")

// choose finds the expression that makes a Maker of the name export of a package. exports
// are the files with the compiler's export data, by import path.
func choose(pkg, export string, exports map[string]string) (expression string, err error) {
	defer func() {
		if r := recover(); r != nil { // go/importer panics on what it does not know
			err = fmt.Errorf("%w: %v", errSkew, r)
		}
	}()
	files := token.NewFileSet()
	imports := importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) {
		file, ok := exports[path]
		if !ok {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(file)
	})
	it, err := imports.Import(pkg)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errSkew, err)
	}
	makers, err := imports.Import(appPath)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errSkew, err)
	}
	object := it.Scope().Lookup(export)
	if object == nil || !object.Exported() {
		return "", unknownName(it, export)
	}
	if _, ok := object.(*types.TypeName); !ok {
		for _, s := range shapes {
			if makers.Scope().Lookup(s.maker) == nil {
				return "", &versionError{lacks: "app." + s.maker}
			}
			for _, value := range []string{"it." + export, "&it." + export} {
				expression := "app." + s.maker + "(" + value + ")"
				if compiles(files, imports, pkg, expression) {
					return expression, nil
				}
			}
		}
	}
	return "", wrongType(object, it)
}

// compiles asks the type checker about an expression in which it is the package pkg.
func compiles(files *token.FileSet, imports types.Importer, pkg, expression string) bool {
	source := fmt.Sprintf("package main\nimport %q\nimport it %q\nvar _ app.Maker = %s\n", appPath, pkg, expression)
	file, err := parser.ParseFile(files, "", source, 0)
	if err != nil {
		return false
	}
	config := types.Config{Importer: imports}
	_, err = config.Check(pkg+"/"+mainFolder, files, []*ast.File{file}, nil)
	return err == nil
}

func unknownName(it *types.Package, name string) error {
	var exported, callable []string
	for _, n := range it.Scope().Names() {
		object := it.Scope().Lookup(n)
		if !object.Exported() {
			continue
		}
		exported = append(exported, n)
		switch object.(type) {
		case *types.Var, *types.Func:
			callable = append(callable, n)
		}
	}
	e := &NameError{Package: it.Path(), Name: name, Exported: callable}
	if !token.IsExported(name) { // export data does not tell whether it is there
		e.Reason = "is not exported: names that begin with a capital letter are"
	}
	if e.Nearest = nearest.To(name, callable); e.Nearest == "" {
		e.Nearest = nearest.To(name, exported)
	}
	return e
}

func wrongType(object types.Object, it *types.Package) error {
	e := &TypeError{Package: it.Path(), Name: object.Name()}
	qualifier := func(p *types.Package) string { return p.Name() }
	t := object.Type()
	switch object.(type) {
	case *types.TypeName:
		e.Is = "a type"
		e.Hint = "a type is not served, a value of it is: var App = new(" + it.Name() + "." + object.Name() + ")"
	case *types.Const:
		e.Is = "a constant"
	default:
		e.Is = "a " + types.TypeString(t, qualifier)
		if strings.ContainsRune("aeiou", rune(e.Is[2])) {
			e.Is = "an" + e.Is[1:]
		}
		if signature, ok := t.(*types.Signature); ok && signature.Params().Len() > 0 {
			e.Hint = "a function that makes the app takes no arguments: put them into one that has none"
		}
	}
	for _, s := range shapes {
		e.Served = append(e.Served, s.what)
	}
	return e
}

// NameError says that a package has no such exported name.
type NameError struct {
	Package, Name string
	Reason        string
	// Nearest is the exported name that it resembles most, or empty.
	Nearest string
	// Exported are the variables and functions that the package exports.
	Exported []string
}

func (e *NameError) Error() string {
	s := "package " + e.Package + " has no " + e.Name
	if e.Reason != "" {
		s = e.Package + "." + e.Name + " " + e.Reason
	}
	if e.Nearest != "" {
		s += ", did you mean " + e.Nearest + "?"
	}
	if len(e.Exported) == 0 {
		return s + " (it exports no variable and no function)"
	}
	const most = 12
	shown := e.Exported[:min(most, len(e.Exported))]
	s += " (it exports " + strings.Join(shown, ", ")
	if len(e.Exported) > most {
		s += fmt.Sprintf(" and %d more", len(e.Exported)-most)
	}
	return s + ")"
}

// TypeError says that an exported name is nothing that can be served.
type TypeError struct {
	Package, Name string
	Is            string   // what it is
	Served        []string // what it might be instead
	Hint          string
}

func (e *TypeError) Error() string {
	s := e.Package + "." + e.Name + " is " + e.Is + ", which cannot be served"
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s + "\nwhat can be served:\n  " + strings.Join(slices.Clone(e.Served), "\n  ")
}

// versionError: the app's module requires a chaussette that does not go with this one.
type versionError struct{ lacks string }

func (e *versionError) Error() string {
	return "the app's module requires a version of " + modulePath + " that has no " + e.lacks +
		": go get " + modulePath + "@latest"
}
