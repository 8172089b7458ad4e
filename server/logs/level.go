package logs

import (
	"fmt"
	"log/slog"
	"strings"
)

// LevelCritical is above slog's own levels: the worker cannot go on.
const LevelCritical = slog.LevelError + 4

// levels are the names that --log-level takes, as Python's logging has them.
var levels = []struct {
	name  string
	level slog.Level
}{
	{"debug", slog.LevelDebug},
	{"info", slog.LevelInfo},
	{"warning", slog.LevelWarn},
	{"error", slog.LevelError},
	{"critical", LevelCritical},
}

// ParseLevel reads a level's name, in lower or upper case.
func ParseLevel(s string) (slog.Level, error) {
	for _, l := range levels {
		if s == l.name || s == strings.ToUpper(l.name) {
			return l.level, nil
		}
	}
	return 0, fmt.Errorf("%q is not one of %s", s, strings.Join(LevelNames(), ", "))
}

// LevelNames are the levels' names, the lowest first.
func LevelNames() []string {
	names := make([]string, len(levels))
	for i, l := range levels {
		names[i] = l.name
	}
	return names
}

// levelName is a level as the log shows it.
func levelName(l slog.Level) string {
	for i := len(levels) - 1; i > 0; i-- {
		if l >= levels[i].level {
			return strings.ToUpper(levels[i].name)
		}
	}
	return "DEBUG"
}
