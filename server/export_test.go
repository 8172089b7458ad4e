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

// Changed waits for a change as the reloader does; ready is called when it watches.
func Changed(ctx context.Context, ready func(), paths ...string) (string, error) {
	r, err := newReloader(paths, nil)
	if err != nil {
		return "", err
	}
	defer r.close()
	ready()
	return r.changed(ctx)
}
