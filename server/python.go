package server

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/chaussette/chaussette/app"
	"github.com/chaussette/chaussette/app/python"
)

// forPython tells a Python app what the options mean for it, and takes the hooks that it
// runs itself out of c. For other apps it reports options that have no effect.
func (f *flags) forPython(c *Config, name string, set *pflag.FlagSet) {
	if n, err := app.Parse(name); err != nil || n.Kind != app.Python && n.Kind != app.Paste {
		for _, option := range []string{"python", "python-path", "no-monkey", "script-name", "request-timeout", "child-restart"} {
			if set.Changed(option) {
				c.Log.Warn("--" + option + " is for Python apps, and has no effect on this one")
			}
		}
		return
	}
	backend, _ := LookupBackend(c.Backend) // was looked up before
	o := &f.app.Python
	o.Mode = backend.Python
	o.Buffered, o.BufferLimit = backend.Buffered, c.Limits.WithDefaults().Buffered
	o.Logger = c.Log
	o.ServerSoftware = "chaussette/" + strings.Fields(Version())[0]
	// A socket that was inherited is shared with other workers.
	o.Multiprocess = strings.HasPrefix(c.Address, "fd://") || c.Address == "systemd"
	if o.Mode == python.Threads && c.Spawn > 0 {
		o.Threads = c.Spawn
	}
	if o.Mode != python.Gevent && o.Mode != python.Eventlet && c.Spawn > 0 {
		// The app itself keeps them waiting, and takes what waits in one go.
		o.Pending = c.Spawn + max(c.SpawnQueue, 0)
	}
	o.HookOptions = hookOptions(set, name)
	for _, hook := range []struct{ command, imported *string }{
		{&c.PreHook, &o.PreHook}, {&c.PostHook, &o.PostHook},
	} {
		if isImportString(*hook.command) {
			*hook.command, *hook.imported = "", *hook.command
		}
	}
}

// isImportString tells pkg.mod.hook and pkg.mod:hook, as Chaussette 1 had its hooks, from
// a command.
func isImportString(s string) bool {
	return strings.ContainsAny(s, ".:") && !strings.ContainsAny(s, " /\t;|&$'\"\\<>()")
}

// hookOptions are the options as a Python hook sees them: the attributes that Chaussette 1
// had, and the newer ones.
func hookOptions(set *pflag.FlagSet, name string) map[string]any {
	options := map[string]any{"application": name}
	set.VisitAll(func(flag *pflag.Flag) {
		if flag.Name == "help" || flag.Name == "version" {
			return
		}
		key := strings.ReplaceAll(flag.Name, "-", "_")
		options[key] = flag.Value.String()
		switch flag.Value.Type() {
		case "int":
			options[key], _ = set.GetInt(flag.Name)
		case "bool":
			options[key], _ = set.GetBool(flag.Name)
		case "string":
			if flag.Value.String() == "" {
				options[key] = nil
			}
		}
	})
	return options
}
