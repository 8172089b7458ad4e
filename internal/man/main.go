// Man writes the manual page chaussette.1 to standard output.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"

	"github.com/chaussette/chaussette/server"
)

func main() {
	if _, err := os.Stdout.Write(md2man.Render([]byte(server.Manual(date())))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// date is today, or what a reproducible build says it is.
func date() time.Time {
	if seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(seconds, 0).UTC()
	}
	return time.Now()
}
