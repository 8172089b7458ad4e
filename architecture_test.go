package main_test

import (
	"os/exec"
	"path"
	"strings"
	"testing"
)

// floors is the house of docs/architecture.md from its top to its ground. A package
// imports from the floors below its own, or, with a plus, from its own as well. What a
// name with /... has below it lives on the same floor, unless it is named itself.
var floors = []string{
	"webtest/... bench/...+ internal/man",
	". examples/...+",
	"server app/golang",
	"server/... ",
	"app",
	"app/... app/builtin/...",
	"examples/chat",
	"socketio/adminui",
	"socketio socketio/adapter/adaptertest",
	"socketio/adapter/redis socketio/adapter/nats socketio/engineio/webtransport",
	"socketio/adapter/siblings",
	"socketio/adapter/cluster",
	"socketio/... socketio/engineio/...+",
	"socketio/parser/...",
	"ws/wstest/... ws/epoll/... ws/gorilla/...",
	"ws/internal/link/...",
	"ws/internal/frame/... ",
	"ws",
	"ws/internal/...",
	"loop/http1",
	"loop",
	"loop/... listener listener/siblings internal/nearest internal/certtest internal/lowat internal/memfd internal/logtest internal/siotest server/limits app/python/marshal",
}

// floorOf returns a package's floor, counted from the top, and whether those who live
// there import from one another.
func floorOf(pkg string) (floor int, together bool) {
	best := ""
	floor = -1
	for i, names := range floors {
		for _, name := range strings.Fields(names) {
			name, plus := strings.CutSuffix(name, "+")
			folder, below := strings.CutSuffix(name, "/...")
			matches := pkg == folder || below && strings.HasPrefix(pkg, folder+"/")
			if matches && (len(folder) > len(best) || floor < 0 || folder == best && !below) {
				best, floor, together = folder, i, plus
			}
		}
	}
	return floor, together
}

// QUIC and HTTP/3 are the matter of one package.
func TestQUICIsInOnePackage(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(out)) {
		if pkg, imports, _ := strings.Cut(line, " "); strings.Contains(imports, "github.com/quic-go/") {
			all = append(all, pkg)
		}
	}
	if len(all) != 1 || path.Base(all[0]) != "webtransport" {
		t.Errorf("quic-go is imported by %v", all)
	}
}

func TestImportsRunDown(t *testing.T) {
	const module = "github.com/chaussette/chaussette"
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	local := func(importPath string) (string, bool) {
		pkg, ok := strings.CutPrefix(importPath, module)
		return path.Clean(strings.TrimPrefix(pkg, "/")), ok
	}
	packages := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg, _ := local(fields[0])
		packages++
		floor, together := floorOf(pkg)
		if floor < 0 {
			t.Errorf("%s has no floor: add it to floors, and to docs/architecture.md", pkg)
			continue
		}
		for _, imported := range fields[1:] {
			below, ok := local(imported)
			if !ok {
				continue
			}
			if f, _ := floorOf(below); f < floor || f == floor && !together {
				t.Errorf("%s imports %s, which is not on a floor below it", pkg, below)
			}
		}
	}
	if packages < len(floors) {
		t.Errorf("go list found %d packages only", packages)
	}
}
