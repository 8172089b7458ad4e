package python

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"strings"
)

// maxLine is the longest line of a child's output that is kept in one piece.
const maxLine = 64 << 10

// logLines logs what comes from r, a record a line, until r ends.
func logLines(r io.Reader, log *slog.Logger) {
	in := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			log.Info(strings.ToValidUTF8(string(line), "\uFFFD"))
		}
		if err != nil && err != bufio.ErrBufferFull {
			return
		}
	}
}
