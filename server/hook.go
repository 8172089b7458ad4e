package server

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"slices"
)

// builtinHooks are the hooks that Chaussette 1 had for its bench app. Existing Circus
// files name them; the app sets up and tears down by itself now.
var builtinHooks = []string{"chaussette.util.setup_bench", "chaussette.util.teardown_bench"}

// hook runs a hook's command by the shell, and waits for it. What it prints goes to the
// log, a line a record. ctx ends it.
func (w *Worker) hook(ctx context.Context, name, command string) error {
	if command == "" {
		return nil
	}
	w.log.Info("Running the "+name, "command", command)
	if slices.Contains(builtinHooks, command) {
		return nil
	}
	out := &lineLogger{log: w.log.With("hook", name)}
	defer out.flush()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Env = append(os.Environ(), w.config.HookEnv...)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd.Run()
}

// lineLogger logs what is written to it, line by line.
type lineLogger struct {
	log  *slog.Logger
	rest []byte
}

func (l *lineLogger) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.log.Info(string(line))
		l.rest = rest
	}
}

func (l *lineLogger) flush() {
	if len(l.rest) > 0 {
		l.log.Info(string(l.rest))
		l.rest = nil
	}
}
