package watch_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chaussette/chaussette/server/watch"
)

// changed waits for a change; ready is called when it watches.
func changed(ctx context.Context, ready func(), paths ...string) (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	w, err := watch.New(program, paths, slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	defer w.Close()
	ready()
	return w.Changed(ctx)
}

func TestWatcherSeesChanges(t *testing.T) {
	folder := t.TempDir()
	write := func(name string) func() {
		return func() {
			path := filepath.Join(folder, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("x"), 0o644)); err != nil {
				t.Error(err)
			}
		}
	}
	write("pkg/old.py")()
	for name, change := range map[string]func(){
		"new.go": write("new.go"),
		"old.py": write("pkg/old.py"),
		"replace.py": func() {
			write("pkg/tmp.txt")()
			_ = os.Rename(filepath.Join(folder, "pkg/tmp.txt"), filepath.Join(folder, "pkg/replace.py"))
		},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		path, err := changed(ctx, func() { write("data.log")(); write(".git/x.go")(); change() }, folder)
		if err != nil || filepath.Base(path) != name {
			t.Errorf("%s: noticed %q, %v", name, path, err)
		}
		cancel()
	}
	if _, err := changed(context.Background(), func() {}, "/"); err == nil {
		t.Error("the whole file system is watched")
	}
}
