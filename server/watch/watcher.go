// Package watch notices that a program has changed, for --use-reloader.
package watch

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Watcher watches files, and folders with the sources in and below them.
type Watcher struct {
	watcher *fsnotify.Watcher
	files   []string // single files; of the folders of these, nothing else counts
	folders []string // of the files in and below these, sources count
	log     *slog.Logger
}

// settle is how long files must be left alone: an editor or a compiler writes several
// times, and a half-written program must not be started.
const settle = 100 * time.Millisecond

// New watches the program itself, an executable file, and paths: files and folders; no
// path is the current folder. Whoever calls it closes the Watcher.
func New(program string, paths []string, log *slog.Logger) (*Watcher, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	w := &Watcher{watcher: watcher, log: log}
	if len(paths) == 0 {
		paths = []string{"."}
	}
	if abs, err := filepath.Abs(paths[0]); err == nil && abs == "/" {
		return nil, errors.Join(errors.New("the whole file system would be watched: say what to watch with --reload-watch"), watcher.Close())
	}
	for _, path := range append(slices.Clone(paths), program) {
		if err := w.Add(path); err != nil {
			return nil, errors.Join(err, watcher.Close())
		}
	}
	return w, nil
}

// Add watches another file or folder.
func (w *Watcher) Add(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		w.folders = append(w.folders, path)
		return w.addFolder(path)
	}
	// The file's folder is watched, not the file: what replaces it has another inode.
	w.files = append(w.files, path)
	return w.watcher.Add(filepath.Dir(path))
}

func (w *Watcher) addFolder(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it came and went
		case err != nil:
			return err
		case !entry.IsDir():
			return nil
		case path != root && ignored(path):
			return fs.SkipDir
		}
		return w.watcher.Add(path)
	})
}

// ignored are the folders in which no program is written by hand.
func ignored(folder string) bool {
	name := filepath.Base(folder)
	return strings.HasPrefix(name, ".") || name == "__pycache__" || name == "node_modules"
}

// IsSource tells what makes a program another one from what it writes itself.
func IsSource(path string) bool {
	switch filepath.Ext(path) {
	case ".go", ".mod", ".py", ".ini", ".toml", ".yaml", ".yml", ".html", ".tmpl", ".css", ".js":
		return !strings.HasPrefix(filepath.Base(path), ".")
	}
	return false
}

// Changed waits until a file has changed and all have settled, and returns its path;
// or until ctx ends, and returns its error.
func (w *Watcher) Changed(ctx context.Context) (string, error) {
	var path string
	settled := time.NewTimer(time.Hour)
	settled.Stop()
	for {
		select {
		case event := <-w.watcher.Events:
			if event.Has(fsnotify.Create) && w.inFolder(event.Name) && !ignored(event.Name) {
				if info, err := os.Stat(event.Name); err == nil && info.IsDir() {
					if err := w.addFolder(event.Name); err != nil {
						w.log.Warn("the reloader cannot watch a new folder", "folder", event.Name, "error", err)
					}
				}
			}
			if w.counts(event) {
				path = event.Name
				settled.Reset(settle)
			}
		case err := <-w.watcher.Errors:
			w.log.Warn("the reloader may have missed a change", "error", err)
		case <-settled.C:
			return path, nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func (w *Watcher) counts(event fsnotify.Event) bool {
	if event.Op == fsnotify.Chmod {
		return false
	}
	return slices.Contains(w.files, event.Name) || w.inFolder(event.Name) && IsSource(event.Name)
}

func (w *Watcher) inFolder(path string) bool {
	return slices.ContainsFunc(w.folders, func(folder string) bool {
		return strings.HasPrefix(path, folder+string(filepath.Separator))
	})
}

// Close ends the watching.
func (w *Watcher) Close() error { return w.watcher.Close() }
