package golang

import (
	"fmt"
	"go/token"
	"path/filepath"
	"strings"
)

// target is what a Go app's name says.
type target struct {
	name    string // as it was asked for
	pattern string // of the package, for the go command: ./chat, example.com/me/chat
	export  string // App
	// folder is the package's, where the name gives a folder rather than an import path;
	// absolute, with symbolic links resolved.
	folder string
}

// parse reads a Go app's name, without the prefix go:.
func parse(name string) (*target, error) {
	dot := strings.LastIndexByte(name, '.')
	if dot < strings.LastIndexByte(name, '/') || dot < 0 {
		return nil, fmt.Errorf("%s has no name after its package: %s.App, where App is what the package exports", name, name)
	}
	t := &target{name: name, pattern: name[:dot], export: name[dot+1:]}
	if !token.IsIdentifier(t.export) {
		return nil, fmt.Errorf("%q is no name that a Go package could export: ./chat.App means App in the folder ./chat", t.export)
	}
	if t.pattern == "" {
		t.pattern = "."
	}
	if !isLocal(t.pattern) {
		return t, nil
	}
	folder, err := filepath.Abs(t.pattern)
	if err != nil {
		return nil, fmt.Errorf("the current folder: %w", err)
	}
	resolved, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return nil, fmt.Errorf("no folder %s: %s is the name %s of a package in it", t.pattern, name, t.export)
	}
	t.folder, t.pattern = resolved, resolved
	return t, nil
}

// isLocal tells a folder from an import path, as the go command does.
func isLocal(pattern string) bool {
	return pattern == "." || pattern == ".." || strings.HasPrefix(pattern, "./") || strings.HasPrefix(pattern, "../") ||
		filepath.IsAbs(pattern)
}
