package golang_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// snapshot is every file of a folder with its content.
func snapshot(t *testing.T, folder string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(folder, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s\n%s\n", path, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// requiresAll is the go.mod of a module that requires chaussette and what that does: as
// go mod tidy would write it, which needs the network.
func requiresAll(t *testing.T) string {
	ours := regexp.MustCompile(`(?m)^(module|tool) .*\n`).ReplaceAllString(read(t, checkout+"/go.mod"), "")
	return "module example.com/it\n\n" + ours +
		"\nrequire github.com/chaussette/chaussette v0.0.0\n\nreplace github.com/chaussette/chaussette => CHECKOUT\n"
}

// Whatever the app's module is like, it is served, and nothing in it changes.
func TestModules(t *testing.T) {
	const requires = "module example.com/it\n\ngo 1.26.0\n\nrequire github.com/chaussette/chaussette v0.0.0\n\n" +
		"replace github.com/chaussette/chaussette => CHECKOUT\n"
	usesWS := `package it

import (
	"net/http"

	"github.com/chaussette/chaussette/ws"
)

// App is a handler that may upgrade.
func App(w http.ResponseWriter, r *http.Request) {
	if ws.IsUpgrade(r) {
		return
	}
	_, _ = w.Write([]byte("with ws"))
}
`
	for name, c := range map[string]struct {
		texts map[string]string
		in    string // where the user stands, below the folder
		tidy  []string
		app   string
		want  string
	}{
		"without chaussette": {
			texts: map[string]string{"go.mod": "module example.com/it\n\ngo 1.26\n", "it.go": hello("it", "bare")},
			app:   "./.App", want: "bare",
		},
		"internal": {
			texts: map[string]string{"go.mod": "module example.com/it\n\ngo 1.26\n", "internal/deep/it.go": hello("deep", "internal")},
			app:   "./internal/deep.App", want: "internal",
		},
		"by import path": {
			texts: map[string]string{"go.mod": "module example.com/it\n\ngo 1.26\n", "chat/it.go": hello("chat", "path")},
			app:   "example.com/it/chat.App", want: "path",
		},
		"from another folder": {
			texts: map[string]string{"mod/go.mod": "module example.com/it\n\ngo 1.26\n", "mod/chat/it.go": hello("chat", "elsewhere"),
				"here/x": ""},
			in: "here", app: "../mod/chat.App", want: "elsewhere",
		},
		// Its language stays the old one: all closures would see the last i, as before 1.22.
		"of an old Go": {
			texts: map[string]string{"go.mod": "module example.com/it\n\ngo 1.21\n", "it.go": `package it

import (
	"fmt"
	"net/http"
)

// New makes the app.
func New() http.Handler {
	var all []func() int
	for i := 0; i < 3; i++ {
		all = append(all, func() int { return i })
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "i is ", all[0]()) })
}
`},
			app: "./.New", want: "i is 3",
		},
		"requires chaussette, uses ws": {
			// The sums are there, or tidy would ask the checksum database, which not every network reaches.
			texts: map[string]string{"go.mod": requires, "go.sum": read(t, checkout+"/go.sum"), "it.go": usesWS},
			tidy:  []string{"mod", "tidy"},
			app:   "./.App", want: "with ws",
		},
		"vendors chaussette's ws": {
			texts: map[string]string{"go.mod": requiresAll(t), "go.sum": read(t, checkout+"/go.sum"), "it.go": usesWS},
			tidy:  []string{"mod", "vendor"},
			app:   "./.App", want: "with ws",
		},
		"vendors all of chaussette": {
			texts: map[string]string{"go.mod": requiresAll(t), "go.sum": read(t, checkout+"/go.sum"), "it.go": usesWS,
				"cmd/main.go": "package main\n\nimport (\n\"example.com/it\"\n\"net/http\"\n\"github.com/chaussette/chaussette/server\"\n)\n\n" +
					"func main() { server.Main(http.HandlerFunc(it.App)) }\n"},
			tidy: []string{"mod", "vendor"},
			app:  "./.App", want: "with ws",
		},
		// What is vendored is served as it is there, though others know it in another form.
		"vendors others": {
			texts: map[string]string{
				"go.mod": "module example.com/it\n\ngo 1.26\n\nrequire example.com/dep v1.2.3\n",
				"it.go": "package it\n\nimport (\n\"net/http\"\n\"example.com/dep/text\"\n)\n\n" +
					"func App(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text.Text)) }\n",
				"vendor/modules.txt":                  "# example.com/dep v1.2.3\n## explicit; go 1.20\nexample.com/dep/text\n",
				"vendor/example.com/dep/text/text.go": "package text\n\nconst Text = \"vendored\"\n",
			},
			app: "./.App", want: "vendored",
		},
		"in a workspace": {
			texts: map[string]string{
				"go.work":     "go 1.26\n\nuse (\n\t./one\n\t./two\n)\n",
				"one/go.mod":  "module example.com/one\n\ngo 1.25\n",
				"one/one.go":  "package one\n\nconst Text = \"of a workspace\"\n",
				"two/go.mod":  "module example.com/two\n\ngo 1.26\n",
				"two/it.go":   strings.Replace(hello("two", "x"), `"x"`, "one.Text", 1),
				"two/more.go": "package two\n\nimport \"example.com/one\"\n\nvar _ = one.Text\n",
			},
			in: "two", app: "./.App", want: "of a workspace",
		},
		"the standard library's": {app: "net/http.NotFoundHandler", want: "404 page not found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "in a workspace" {
				c.texts["two/it.go"] = strings.Replace(c.texts["two/it.go"], `"fmt"`, "\"fmt\"\n\"example.com/one\"", 1)
			}
			folder := files(t, c.texts)
			if c.tidy != nil {
				cmd := exec.Command("go", c.tidy...)
				cmd.Dir = folder
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			before := snapshot(t, folder)
			s := start(t, filepath.Join(folder, c.in), c.app)
			if got := s.get("/"); !strings.HasPrefix(got, c.want) {
				t.Errorf("it answers %q, not %q", got, c.want)
			}
			if status := s.stop(syscall.SIGTERM); status != 0 {
				t.Errorf("exit status %d", status)
			}
			if after := snapshot(t, folder); after != before {
				t.Errorf("the user's files have changed:\n%s\n\nbefore:\n%s", after, before)
			}
		})
	}
}
