package buffer

import (
	"os"

	"github.com/chaussette/chaussette/internal/memfd"
)

// memoryFile opens a file that is in memory alone, or, where the system has none, one in the
// temporary folder.
func memoryFile() (*os.File, error) {
	file, err := memfd.Create("chaussette-body", 0)
	if err != nil {
		return tempFile()
	}
	return file, nil
}
