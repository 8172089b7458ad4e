package python

import (
	"log/slog"
	"time"
)

// Options says how an app is run. The zero value runs one request at a time on
// $VIRTUAL_ENV's interpreter, or python3.
type Options struct {
	// Interpreter is a Python interpreter, or the folder of a virtualenv. Empty: that
	// of $VIRTUAL_ENV, else python3 on the PATH.
	Interpreter string
	// PythonPath is put on sys.path, behind the current folder.
	PythonPath []string
	// Mode is how requests are run.
	Mode Mode
	// Threads is how many requests run at once in mode Threads. 0: 4.
	Threads int
	// Pending is how many requests may run and wait in the child; those beyond are answered
	// with 503. 0: no bound.
	Pending int
	// NoMonkey leaves the standard library as it is in modes Gevent and Eventlet.
	NoMonkey bool
	// Arguments are sys.argv behind the program and the app's name.
	Arguments []string
	// PreHook and PostHook are import strings of callables that the child calls after
	// the app was loaded and after the last request, with HookOptions as the
	// attributes of an argparse.Namespace. The values must be fit for JSON.
	PreHook, PostHook string
	HookOptions       map[string]any
	// ChildRestart starts a child that ended unasked again, at once and then after 1,
	// 2, 4... up to 30 seconds. Without it Failed reports the end, and the worker
	// ends as well.
	ChildRestart bool
	// RequestTimeout answers 504 for a request that the app has not begun to answer in
	// that time. In mode Serial, where nothing else can run, the child is then ended,
	// after it has logged the stack of its threads. 0: no limit.
	RequestTimeout time.Duration
	// ServerSoftware is SERVER_SOFTWARE; empty: "Chaussette".
	ServerSoftware string
	// ServerName is SERVER_NAME. Empty: the address that the client has connected to,
	// or on a Unix socket the host it asked for.
	ServerName string
	// ScriptName is the path that the app is mounted at, SCRIPT_NAME: it is taken off
	// the front of PATH_INFO. A path that does not begin with it is left as it is: a proxy
	// may have taken it off before. Empty: the root.
	ScriptName string
	// Buffered says that the server keeps a response until the app has returned: the child
	// then holds up to 1 MiB of it itself.
	Buffered bool
	// BufferLimit is how many bytes of such a response are kept, beyond which it is a 500;
	// 0 is no bound. For ServeDirect, which keeps them itself: other servers have a limit of
	// their own.
	BufferLimit int64
	// Multiprocess says that other processes serve the same app: wsgi.multiprocess.
	Multiprocess bool
	// Logger gets what the child prints, its errors, and its life. nil: slog.Default().
	Logger *slog.Logger
}

func (o *Options) withDefaults() *Options {
	c := Options{}
	if o != nil {
		c = *o
	}
	if c.Threads == 0 {
		c.Threads = 4
	}
	if c.ServerSoftware == "" {
		c.ServerSoftware = "Chaussette"
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return &c
}
