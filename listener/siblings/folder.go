package siblings

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// folder is where the workers of a socket meet. It is known by its descriptor: what is
// checked once cannot be exchanged for something else.
type folder struct {
	base string // with the folders of all the user's sockets
	name string
	dir  *os.File
}

// FolderError says why a folder is not used.
type FolderError struct {
	Path   string
	Reason string
}

func (e *FolderError) Error() string { return e.Path + " " + e.Reason }

// defaultBase is $XDG_RUNTIME_DIR, unless it is somebody else's, as where a manager has
// left its own to a worker of another user.
func defaultBase() string {
	base := os.Getenv("XDG_RUNTIME_DIR")
	if info, err := os.Stat(base); err == nil && info.IsDir() {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) == os.Geteuid() {
			return base
		}
	}
	return os.TempDir()
}

func openFolder(base, key string) (*folder, error) {
	if key != filepath.Base(key) || strings.ContainsAny(key[:1], "./") {
		return nil, fmt.Errorf("%q cannot be the name of a folder", key)
	}
	all := filepath.Join(base, "chaussette-"+strconv.Itoa(os.Geteuid()))
	above, err := openPrivate(all)
	if err != nil {
		return nil, err
	}
	defer above.Close()
	dir, err := openPrivate(filepath.Join(all, key))
	if err != nil {
		return nil, err
	}
	return &folder{base: all, name: key, dir: dir}, nil
}

// openPrivate opens a folder that is the user's alone, and makes it if it is not there.
func openPrivate(path string) (*os.File, error) {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	dir, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR) {
			return nil, &FolderError{path, "is a link or a file, where a folder was expected"}
		}
		// Another user's cannot be opened, unless by root; it says whose it is all the same.
		if info, statErr := os.Lstat(path); statErr == nil && errors.Is(err, fs.ErrPermission) && owner(info) != os.Geteuid() {
			return nil, foreign(path, info)
		}
		return nil, err
	}
	info, err := dir.Stat()
	if err != nil {
		dir.Close()
		return nil, err
	}
	switch {
	case owner(info) != os.Geteuid():
		err = foreign(path, info)
	case info.Mode().Perm() != 0o700:
		err = &FolderError{path, fmt.Sprintf("has mode %04o, where 0700 was expected", info.Mode().Perm())}
	default:
		return dir, nil
	}
	dir.Close()
	return nil, err
}

// path is that of a file in the folder. It is short, as those of Unix sockets have to be,
// and leads to this folder whatever has taken its place.
func (f *folder) path(name string) string {
	return "/proc/self/fd/" + strconv.Itoa(int(f.dir.Fd())) + "/" + name
}

// listen opens the socket of a worker, which is not to be seen yet.
func (f *folder) listen(t Tag) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: f.path("." + string(t)), Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	return l, nil
}

// publish lets others see the socket.
func (f *folder) publish(t Tag) error {
	if _, err := os.Lstat(f.path(string(t))); err == nil {
		return &os.PathError{Op: "publish", Path: string(t), Err: fs.ErrExist}
	}
	return os.Rename(f.path("."+string(t)), f.path(string(t)))
}

// tags are the workers that have a socket in the folder, dead ones as well.
func (f *folder) tags() ([]Tag, error) {
	names, err := f.names(f.path(""))
	var tags []Tag
	for _, n := range names {
		if len(n) == TagLength && n[0] != '.' {
			tags = append(tags, Tag(n))
		}
	}
	return tags, err
}

func (f *folder) names(path string) ([]string, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}

// leave takes a worker's socket away.
func (f *folder) leave(t Tag) {
	_ = os.Remove(f.path(string(t)))
	_ = os.Remove(f.path("." + string(t)))
}

// bury removes the socket of a dead worker. Its tag comes to nobody else.
func (f *folder) bury(t Tag) { _ = os.Remove(f.path(string(t))) }

// close gives the folder up. The last one removes it.
func (f *folder) close() {
	_ = syscall.Rmdir(filepath.Join(f.base, f.name)) // it fails where somebody is in it
	_ = f.dir.Close()
}

// abandoned is how old a socket has to be that was not published, to count as dead.
const abandoned = time.Minute

// sweep removes what killed workers have left behind, on sockets that are gone.
func (f *folder) sweep(ctx context.Context) {
	folders, err := f.names(f.base)
	if err != nil {
		return
	}
	for _, name := range folders {
		if ctx.Err() != nil {
			return
		}
		if name == f.name {
			continue
		}
		dir, err := openPrivate(filepath.Join(f.base, name))
		if err != nil {
			continue
		}
		other := &folder{base: f.base, name: name, dir: dir}
		names, _ := f.names(other.path(""))
		for _, n := range names {
			path := other.path(n)
			info, err := os.Lstat(path)
			if err != nil || info.Mode().Type() != fs.ModeSocket || n[0] == '.' && time.Since(info.ModTime()) < abandoned {
				continue
			}
			c, err := net.DialTimeout("unix", path, time.Second)
			if err == nil {
				_ = c.Close()
				break // somebody lives there
			}
			if errors.Is(err, syscall.ECONNREFUSED) {
				_ = os.Remove(path)
			}
		}
		other.close()
	}
}

func owner(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

func foreign(path string, info fs.FileInfo) error {
	return &FolderError{path, fmt.Sprintf("belongs to user %d", owner(info))}
}
