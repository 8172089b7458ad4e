package logs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/server/logs"
)

func TestTextFormat(t *testing.T) {
	for _, c := range []struct {
		name string
		log  func(*slog.Logger)
		want string // after the time and the pid
	}{
		{"the old format", func(l *slog.Logger) { l.Info("Serving on fd://3") }, "[INFO] Serving on fd://3\n"},
		{"levels", func(l *slog.Logger) { l.Warn("w"); l.Error("e") }, "[WARNING] w\n[ERROR] e\n"},
		{"below the level", func(l *slog.Logger) { l.Debug("d") }, ""},
		{"attributes", func(l *slog.Logger) { l.Info("m", "n", 1, "s", "a b", "empty", "", "err", errors.New("x=y")) },
			`[INFO] m n=1 s="a b" empty="" err="x=y"` + "\n"},
		{"with and groups", func(l *slog.Logger) {
			l.With("a", 1).WithGroup("g").With("b", 2).Info("m", slog.Group("h", "c", 3))
		}, "[INFO] m a=1 g.b=2 g.h.c=3\n"},
		{"a stack", func(l *slog.Logger) { l.Error("panic", "stack", "main.go:1\n\tmain.f\n") },
			"[ERROR] panic stack=\n    main.go:1\n    \tmain.f\n"},
		{"a forged record", func(l *slog.Logger) { l.Info("a\r\n2012-05-30 17:28:41 [1] [INFO] b", "k", "\x1b[2J") },
			"[INFO] a\n    2012-05-30 17:28:41 [1] [INFO] b k=\"\\x1b[2J\"\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			c.log(slog.New(logs.NewHandler(&b, logs.Text, slog.LevelInfo)))
			head := regexp.MustCompile(fmt.Sprintf(`(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[%d\] `, os.Getpid()))
			if got := head.ReplaceAllString(b.String(), ""); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestJSONFormat(t *testing.T) {
	var b bytes.Buffer
	slog.New(logs.NewHandler(&b, logs.JSON, slog.LevelInfo)).Warn("m", "k", "v")
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got["level"] != "WARNING" || got["msg"] != "m" || got["k"] != "v" || got["pid"] != float64(os.Getpid()) {
		t.Errorf("got %v", got)
	}
}

func TestParseLevel(t *testing.T) {
	for name, want := range map[string]slog.Level{"debug": slog.LevelDebug, "WARNING": slog.LevelWarn, "critical": logs.LevelCritical} {
		if got, err := logs.ParseLevel(name); err != nil || got != want {
			t.Errorf("ParseLevel(%q) = %v, %v", name, got, err)
		}
	}
	if _, err := logs.ParseLevel("Warn"); err == nil || !strings.Contains(err.Error(), "warning") {
		t.Errorf("an unknown level: %v", err)
	}
}

func TestFileIsOpenedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := logs.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(s string) {
		if _, err := f.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	write("before\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("rotated\n") // still into the old one
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	write("after\n")
	for path, want := range map[string]string{path + ".1": "before\nrotated\n", path: "after\n"} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s has %q, %v", filepath.Base(path), got, err)
		}
	}
	// Where the new one cannot be opened, the old one is kept.
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); err == nil {
		t.Error("a log in no folder was opened")
	}
	write("kept\n")
}

func ExampleNewHandler() {
	withoutTime := func(b []byte) { fmt.Print(regexp.MustCompile(`^.*\] \[`).ReplaceAllString(string(b), "... [")) }
	log := slog.New(logs.NewHandler(writer(withoutTime), logs.Text, slog.LevelInfo))
	log.Info("Serving on fd://3")
	log.Warn("connections are refused with 503", "max-connections", 1000)
	// Output:
	// ... [INFO] Serving on fd://3
	// ... [WARNING] connections are refused with 503 max-connections=1000
}

type writer func([]byte)

func (w writer) Write(b []byte) (int, error) { w(b); return len(b), nil }
