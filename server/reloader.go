package server

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

// reloader watches files for --use-reloader.
type reloader struct {
	watcher *fsnotify.Watcher
	files   []string // single files; of the folders of these, nothing else counts
	folders []string // of the files in and below these, sources count
	log     *slog.Logger
}

// settle is how long files must be left alone: an editor or a compiler writes several
// times, and a half-written program must not be started.
const settle = 100 * time.Millisecond

// newReloader watches the program itself and paths: files, and folders with the sources
// in and below them.
func newReloader(paths []string, log *slog.Logger) (*reloader, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	r := &reloader{watcher: watcher, log: log}
	if len(paths) == 0 {
		paths = []string{"."}
	}
	if abs, err := filepath.Abs(paths[0]); err == nil && abs == "/" {
		return nil, errors.Join(errors.New("the whole file system would be watched: say what to watch with --reload-watch"), watcher.Close())
	}
	for _, path := range append(slices.Clone(paths), executable) {
		if err := r.add(path); err != nil {
			return nil, errors.Join(err, watcher.Close())
		}
	}
	return r, nil
}

func (r *reloader) add(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		r.folders = append(r.folders, path)
		return r.addFolder(path)
	}
	// The file's folder is watched, not the file: what replaces it has another inode.
	r.files = append(r.files, path)
	return r.watcher.Add(filepath.Dir(path))
}

func (r *reloader) addFolder(root string) error {
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
		return r.watcher.Add(path)
	})
}

// ignored are the folders in which no program is written by hand.
func ignored(folder string) bool {
	name := filepath.Base(folder)
	return strings.HasPrefix(name, ".") || name == "__pycache__" || name == "node_modules"
}

// isSource tells what makes a program another one from what it writes itself.
func isSource(path string) bool {
	switch filepath.Ext(path) {
	case ".go", ".mod", ".py", ".ini", ".toml", ".yaml", ".yml", ".html", ".tmpl", ".css", ".js":
		return !strings.HasPrefix(filepath.Base(path), ".")
	}
	return false
}

// changed waits until a file has changed and all have settled, and returns its path;
// or until ctx ends, and returns its error.
func (r *reloader) changed(ctx context.Context) (string, error) {
	var path string
	settled := time.NewTimer(time.Hour)
	settled.Stop()
	for {
		select {
		case event := <-r.watcher.Events:
			if event.Has(fsnotify.Create) && r.inFolder(event.Name) && !ignored(event.Name) {
				if info, err := os.Stat(event.Name); err == nil && info.IsDir() {
					if err := r.addFolder(event.Name); err != nil {
						r.log.Warn("the reloader cannot watch a new folder", "folder", event.Name, "error", err)
					}
				}
			}
			if r.counts(event) {
				path = event.Name
				settled.Reset(settle)
			}
		case err := <-r.watcher.Errors:
			r.log.Warn("the reloader may have missed a change", "error", err)
		case <-settled.C:
			return path, nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func (r *reloader) counts(event fsnotify.Event) bool {
	if event.Op == fsnotify.Chmod {
		return false
	}
	return slices.Contains(r.files, event.Name) || r.inFolder(event.Name) && isSource(event.Name)
}

func (r *reloader) inFolder(path string) bool {
	return slices.ContainsFunc(r.folders, func(folder string) bool {
		return strings.HasPrefix(path, folder+string(filepath.Separator))
	})
}

func (r *reloader) close() error { return r.watcher.Close() }
