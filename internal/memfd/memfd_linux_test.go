package memfd_test

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/internal/memfd"
)

func create(t *testing.T, name string, size int64) *os.File {
	t.Helper()
	file, err := memfd.Create(name, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

func TestCreate(t *testing.T) {
	file := create(t, "a test's", 3)
	if info, err := file.Stat(); err != nil || info.Size() != 3 {
		t.Errorf("%v, %v: not of 3 bytes", info, err)
	}
	if _, err := file.WriteAt([]byte("hello"), 1); err != nil {
		t.Error(err)
	}
	b := make([]byte, 6)
	if _, err := file.ReadAt(b, 0); err != nil || string(b) != "\x00hello" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Lstat(file.Name()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it has a name: %v", err)
	}
}

func TestCreateClosesOnExec(t *testing.T) {
	file := create(t, "x", 0)
	if flags, err := unix.FcntlInt(file.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
}

func TestCreateRefused(t *testing.T) {
	if file, err := memfd.Create(strings.Repeat("x", 300), 0); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a name of 300 bytes: %v, %v", file, err)
	}
	if file, err := memfd.Create("x", -1); err == nil {
		t.Errorf("a size of -1: %v", file)
	}
}
