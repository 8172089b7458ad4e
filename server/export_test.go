package server

import "context"

// ParseArgs is what a command line becomes, without serving.
func ParseArgs(args ...string) (Config, error) {
	f := newFlags()
	cmd := command(f, nil, nil, true)
	if err := cmd.ParseFlags(args); err != nil {
		return Config{}, &UsageError{err}
	}
	if err := fromEnv(cmd.Flags()); err != nil {
		return Config{}, err
	}
	err := f.finish(cmd.Flags())
	return f.config, err
}

// WatchParent is watchParent.
func WatchParent(ctx context.Context) (<-chan struct{}, error) { return watchParent(ctx) }
