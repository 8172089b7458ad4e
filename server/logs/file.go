package logs

import (
	"os"
	"sync"
)

// File is a log file that can be opened again after it was rotated. It is written to in
// appending mode, so that N workers may share one. Write and Reopen may be called from
// any goroutine.
type File struct {
	path string

	mu   sync.Mutex // the lock of the wire: held over Write
	file *os.File
}

// OpenFile opens the log at path, creating it (mode 0644, less the umask) where it is
// missing. The path "-" is standard error.
func OpenFile(path string) (*File, error) {
	f := &File{path: path}
	if path == "-" {
		f.file = os.Stderr
		return f, nil
	}
	return f, f.Reopen()
}

func (f *File) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Write(b)
}

// Reopen opens the path anew, and closes what was open. Where that fails the old file
// is kept. Standard error stays as it is.
func (f *File) Reopen() error {
	if f.path == "-" {
		return nil
	}
	opened, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	f.mu.Lock()
	old := f.file
	f.file = opened
	f.mu.Unlock()
	if old != nil {
		return old.Close()
	}
	return nil
}

// Close closes the file; standard error stays open.
func (f *File) Close() error {
	if f.path == "-" {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}
