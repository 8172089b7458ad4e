package golang

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// cacheVariable names the folder of the cache, in the place of the user's.
const cacheVariable = "CHAUSSETTE_CACHE"

// cache is the folder of programs made of Go apps:
//
//	apps/KEY.json      the manifest of an app as it was asked for: its folder, name and environment
//	apps/KEY.lock      held by whoever builds it
//	programs/KEY/      a program, by the content of what it was made of
//	work/KEY/          files of a build that runs
type cache struct{ folder string }

// programName is the file's name, which the system shows as the process's.
const programName = "chaussette"

// unused is how long a program is kept that nobody starts.
const unused = 30 * 24 * time.Hour

func openCache() (*cache, error) {
	folder := os.Getenv(cacheVariable)
	if folder == "" {
		base := os.Getenv("XDG_CACHE_HOME")
		if base == "" || !filepath.IsAbs(base) || runtime.GOOS == "darwin" {
			home, err := home()
			if err != nil {
				return nil, fmt.Errorf("the cache of programs: %w, or %s to a folder for it", err, cacheVariable)
			}
			base = filepath.Join(home, ".cache")
			if runtime.GOOS == "darwin" {
				base = filepath.Join(home, "Library", "Caches")
			}
		}
		folder = filepath.Join(base, "chaussette")
	}
	folder, err := filepath.Abs(folder)
	return &cache{folder}, err
}

func (c *cache) manifest(key string) string { return filepath.Join(c.folder, "apps", key+".json") }
func (c *cache) program(key string) string {
	return filepath.Join(c.folder, "programs", key, programName)
}

// prepare makes the folders for writing.
func (c *cache) prepare() error {
	for _, name := range []string{"apps", "programs", "work"} {
		if err := os.MkdirAll(filepath.Join(c.folder, name), 0o700); err != nil {
			return c.explain(err)
		}
	}
	return nil
}

// explain says of an error of the file system what to do.
func (c *cache) explain(err error) error {
	if err == nil {
		return nil
	}
	why := "the program cannot be kept"
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		why = "the disk is full"
	case errors.Is(err, unix.EROFS), errors.Is(err, fs.ErrPermission):
		why = "the cache cannot be written"
	}
	return fmt.Errorf("%s: %w (%s can name another folder; chaussette build needs none)", why, err, cacheVariable)
}

// lock waits until this process alone may build the app, or ctx ends. waiting is called
// once if another is at it.
func (c *cache) lock(ctx context.Context, key string, waiting func()) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(c.folder, "apps", key+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, c.explain(err)
	}
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		}
	}
}

// scratch is a folder for the files of a build, of the same name each time, as the
// compiler's own cache knows files by their paths.
func (c *cache) scratch(key string) (folder string, remove func(), err error) {
	folder = filepath.Join(c.folder, "work", key)
	if err := os.RemoveAll(folder); err != nil { // of a build that was killed
		return "", nil, c.explain(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return "", nil, c.explain(err)
	}
	remove = func() { _ = os.RemoveAll(folder) }
	if folder, err = filepath.EvalSymlinks(folder); err != nil {
		remove()
		return "", nil, err
	}
	return folder, remove, nil
}

// has tells whether the program is there, and notes that it is in use.
func (c *cache) has(key string) bool {
	info, err := os.Stat(c.program(key))
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	if time.Since(info.ModTime()) > 24*time.Hour {
		now := time.Now()
		_ = os.Chtimes(c.program(key), now, now) // the cache may be read-only
	}
	return true
}

// keep moves a program into the cache.
func (c *cache) keep(key, file string) error {
	path := c.program(key)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return c.explain(err)
	}
	return c.explain(os.Rename(file, path))
}

// clean removes programs that nobody has started for long, and manifests of apps that
// nobody has asked for in that time.
func (c *cache) clean() {
	for _, pattern := range []string{c.program("*"), c.manifest("*")} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			info, err := os.Stat(file)
			if err != nil || time.Since(info.ModTime()) < unused {
				continue
			}
			_ = os.Remove(file)
			if filepath.Base(file) == programName {
				_ = os.Remove(filepath.Dir(file))
			}
		}
	}
}
