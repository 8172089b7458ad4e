package buffer

import (
	"os"

	"golang.org/x/sys/unix"
)

// memoryFile opens a file that is in memory alone (memfd_create(2)).
func memoryFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("chaussette-body", unix.MFD_CLOEXEC)
	if err != nil {
		return tempFile()
	}
	return os.NewFile(uintptr(fd), "chaussette-body"), nil
}
