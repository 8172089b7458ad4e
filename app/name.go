package app

import (
	"fmt"
	"strings"

	"github.com/chaussette/chaussette/app/builtin"
)

// Kind is what sort of App a Name names.
type Kind int

// The kinds of App, in the order in which a name is tried.
const (
	Builtin Kind = iota // part of the command
	Go                  // a Go package's exported name
	Python              // a WSGI callable
	Paste               // a PasteDeploy file
)

func (k Kind) String() string {
	switch k {
	case Builtin:
		return "built-in"
	case Go:
		return "Go"
	case Python:
		return "Python"
	case Paste:
		return "Paste"
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// Name is an application's name as the command line has it, read by [Parse].
type Name struct {
	Kind Kind
	// Path is the name without its prefix: a built-in's word, a Go import path with
	// its exported name, a Python dotted or colon name, a Paste file with its section.
	Path string
}

func (n Name) String() string {
	switch n.Kind {
	case Go:
		return "go:" + n.Path
	case Python:
		return "python:" + n.Path
	case Paste:
		return "paste:" + n.Path
	default:
		return n.Path
	}
}

// oldNames are the built-ins under the names that they had in Chaussette 1.
var oldNames = map[string]string{
	"chaussette.util.hello_app": "hello",
	"chaussette.util.bench_app": "bench",
}

// Parse reads an application's name. It opens nothing: whether there is such an
// application is for [Open] to find out.
func Parse(s string) (Name, error) {
	if s == "" {
		return Name{Builtin, "hello"}, nil
	}
	for prefix, kind := range map[string]Kind{"go": Go, "python": Python, "paste": Paste} {
		if path, ok := strings.CutPrefix(s, prefix+":"); ok {
			if path == "" || strings.HasPrefix(path, "#") {
				return Name{}, &NameError{Name: s, Reason: "nothing stands after " + prefix + ":"}
			}
			return Name{kind, path}, nil
		}
	}
	if word, ok := oldNames[s]; ok {
		return Name{Builtin, word}, nil
	}
	if _, ok := builtin.Lookup(s); ok {
		return Name{Builtin, s}, nil
	}
	slash, dot := strings.IndexByte(s, '/'), strings.LastIndexByte(s, '.')
	switch {
	case slash >= 0 && slash < dot:
		return Name{Go, s}, nil
	case slash >= 0:
		return Name{}, &NameError{
			Name:   s,
			Reason: "a Go app is a package's path, a dot, and an exported name: " + s + ".App",
		}
	}
	return Name{Python, s}, nil
}
