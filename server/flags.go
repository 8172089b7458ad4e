package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"

	"github.com/chaussette/chaussette/app"
	"github.com/chaussette/chaussette/listener"
	"github.com/chaussette/chaussette/server/limits"
	"github.com/chaussette/chaussette/server/logs"
	"github.com/chaussette/chaussette/socketio/adminui"
)

// flags are the command line's options, and what they become.
type flags struct {
	config Config
	app    app.Options

	host          string
	port          int
	fd            int
	addressFamily string
	socketType    string
	logLevel      string
	logOutput     string
	logFormat     string
	accessLog     string
	pythonPath    string
	wsOverflow    string
	wsDeflate     string
	revisions     []string
	recovery      time.Duration
	admin         string
	adminOptions  adminui.Options

	// launched: the chaussette command has executed this program, which it made of a Go app.
	launched *launched

	// groups are the options as help shows them.
	groups []flagGroup
}

type flagGroup struct {
	title string
	set   *pflag.FlagSet
}

// The address families and socket types that Chaussette 1 took.
var (
	addressFamilies = []string{"AF_INET", "AF_INET6", "AF_UNIX"}
	socketTypes     = []string{"SOCK_STREAM", "SOCK_DGRAM", "SOCK_RAW", "SOCK_RDM", "SOCK_SEQPACKET"}
)

// newFlags defines every option. Those of Chaussette 1 keep name, default and meaning.
func newFlags() *flags {
	f := &flags{}
	c, l := &f.config, &f.config.Limits
	*l = limits.Default

	s := f.group("Socket")
	s.StringVar(&f.host, "host", "localhost", "`address` to serve on: a name or an IP, unix:/path, fd://N, or systemd")
	s.IntVar(&f.port, "port", 8080, "TCP `port` to serve on; 0 takes a free one")
	s.IntVar(&f.fd, "fd", -1, "serve on the inherited file descriptor `N`, of any address family; -1 is none")
	s.IntVar(&c.Backlog, "backlog", defaultBacklog, "`connections` that may wait to be accepted, for a socket that is bound here")
	s.StringVar(&f.addressFamily, "address-family", "", "`family` of the addresses to bind: AF_INET, AF_INET6 or AF_UNIX; what the host has by default")
	s.StringVar(&f.socketType, "socket-type", "SOCK_STREAM", "`type` of the socket; HTTP needs SOCK_STREAM")
	s.Var(modeFlag{&c.UnixMode}, "unix-mode", "file mode of a Unix socket that is bound here; the umask decides by default")

	s = f.group("Serving")
	s.StringVar(&c.Backend, "backend", backends[0].Name, "how to serve: a `name` from the list of backends")
	s.IntVar(&c.Spawn, "spawn", 0, "`requests` that the app runs at once; 0 is no bound, for a Go app")
	c.SpawnQueue = defaultSpawnQueue
	s.Var(countFlag{&c.SpawnQueue}, "spawn-queue", "with --spawn: `requests` that may wait, beyond which they get 503; 0 is none")
	s.StringVar(&c.CertFile, "certfile", "", "serve TLS with the PEM certificate in `file`")
	s.StringVar(&c.KeyFile, "keyfile", "", "the certificate's key in PEM `file`, where --certfile has not both")
	s.BoolVar(&c.NoHTTP2, "no-http2", false, "speak HTTP/1 only; HTTP/2 is spoken with TLS, and without it to clients that know (h2c)")

	s = f.group("Limits (0 is no limit)")
	s.Var(sizeFlag[int]{&l.HeaderSize}, "max-header-size", "bytes of a request's headers, beyond which it gets 431")
	s.Var(durationFlag{&l.HeaderTimeout}, "header-timeout", "time for a request's headers to arrive, beyond which it gets 408")
	s.Var(sizeFlag[int64]{&l.BodySize}, "max-body-size", "bytes of a request's body, beyond which it gets 413")
	s.Var(durationFlag{&l.BodyTimeout}, "body-timeout", "time in which a request's body must make progress, else it gets 408")
	s.Var(durationFlag{&l.SendTimeout}, "send-timeout", "time in which a client must take something of its response, else it is cut off (TCP)")
	s.Var(durationFlag{&l.IdleTimeout}, "idle-timeout", "time that a connection may wait for its next request")
	s.Var(countFlag{&l.Connections}, "max-connections", "connections open at once, beyond which new ones get 503")
	s.Var(sizeFlag[int64]{&l.Buffered}, "buffer-limit", "bytes of a response that a buffering backend holds, beyond which it is a 500")

	f.webSocketFlags()
	f.socketIOFlags(f.group("Socket.IO (--backend socketio)"))

	s = f.group("Python apps (no meaning for others)")
	s.StringVar(&f.app.Python.Interpreter, "python", "", "`interpreter`, or folder of a virtualenv; $VIRTUAL_ENV or python3 by default")
	s.StringVar(&f.pythonPath, "python-path", "", "`folders` for sys.path, with a colon between them, behind the current one")
	s.BoolVar(&f.app.Python.NoMonkey, "no-monkey", false, "leave the standard library as it is on backends of green threads")
	s.Var(scriptNameFlag{&f.app.Python.ScriptName}, "script-name", "`path` that a proxy serves the app at, as /shop: SCRIPT_NAME, which PATH_INFO does not begin with")
	s.Var(durationFlag{&f.app.Python.RequestTimeout}, "request-timeout", "time for the app to begin its response, beyond which the client gets 504; 0 is no limit")
	s.BoolVar(&f.app.Python.ChildRestart, "child-restart", false, "start a Python process that has crashed again, rather than end the worker")

	s = f.group("Life of the worker")
	c.GracefulTimeout = defaultGracefulTimeout
	s.Var(durationFlag{&c.GracefulTimeout}, "graceful-timeout", "time that running requests have to end after SIGTERM, SIGINT or SIGHUP")
	s.StringVar(&c.PreHook, "pre-hook", "", "shell `command` to run when the app is loaded, before the worker listens; for a Python app also pkg.mod.callable")
	s.StringVar(&c.PostHook, "post-hook", "", "shell `command` to run when the worker has stopped; for a Python app also pkg.mod.callable")
	s.BoolVar(&c.ExitWithParent, "exit-with-parent", false, "drain when the parent process ends")
	s.BoolVar(&c.Reload, "use-reloader", false, "begin anew when a file changes, waiting for nobody: for development")
	s.StringSliceVar(&c.ReloadPaths, "reload-watch", nil, "with --use-reloader: the `paths` to watch beside the program; the current folder by default")

	s = f.group("Log")
	s.StringVar(&f.logLevel, "log-level", "info", "`level` of what is logged at the least: "+strings.Join(logs.LevelNames(), ", "))
	s.StringVar(&f.logOutput, "log-output", "-", "`file` to append the log to; - is standard error")
	s.StringVar(&f.logFormat, "log-format", string(logs.Text), "`format` of the logs: "+strings.Join(logs.Formats(), " or "))
	s.StringVar(&f.accessLog, "access-log", "", "`file` to append a line for each request to; - is standard error; none by default")
	return f
}

func (f *flags) group(title string) *pflag.FlagSet {
	s := pflag.NewFlagSet(title, pflag.ContinueOnError)
	s.SortFlags = false
	f.groups = append(f.groups, flagGroup{title, s})
	return s
}

// envName is the environment variable that sets the option name.
func envName(name string) string {
	return "CHAUSSETTE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// fromEnv sets what the command line left open from the environment.
func fromEnv(set *pflag.FlagSet) error {
	var err error
	// The socket is named by one of these, and the command line wins.
	named := set.Changed("fd") || set.Changed("host")
	set.VisitAll(func(f *pflag.Flag) {
		value, ok := os.LookupEnv(envName(f.Name))
		if !ok || f.Changed || err != nil || f.Name == "help" || f.Name == "version" {
			return
		}
		if named && (f.Name == "fd" || f.Name == "host") {
			return
		}
		if e := set.Set(f.Name, value); e != nil {
			err = fmt.Errorf("%s in the environment: %w", envName(f.Name), e)
		}
	})
	return err
}

// environment is every option as it stands, for hooks.
func environment(set *pflag.FlagSet) []string {
	var env []string
	set.VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && f.Name != "version" {
			env = append(env, envName(f.Name)+"="+text(f.Value))
		}
	})
	return env
}

// text is v as it is written on the command line.
func text(v pflag.Value) string {
	if list, ok := v.(pflag.SliceValue); ok {
		return strings.Join(list.GetSlice(), ",")
	}
	return v.String()
}

// finish checks the options together, and makes the Config of them.
func (f *flags) finish(set *pflag.FlagSet) error {
	c := &f.config
	switch {
	case set.Changed("fd") && f.fd != -1 && set.Changed("host"):
		return fmt.Errorf("--fd and --host exclude one another: the socket of --fd is bound already")
	case f.fd < -1:
		return fmt.Errorf("--fd %d: a file descriptor, or -1 for none", f.fd)
	case f.port < 0 || f.port > 65535:
		return fmt.Errorf("--port %d: a TCP port is at most 65535", f.port)
	case !slices.Contains(addressFamilies, f.addressFamily) && f.addressFamily != "":
		return fmt.Errorf("--address-family %s: one of %s", f.addressFamily, strings.Join(addressFamilies, ", "))
	case !slices.Contains(socketTypes, f.socketType):
		return fmt.Errorf("--socket-type %s: one of %s", f.socketType, strings.Join(socketTypes, ", "))
	case f.socketType != "SOCK_STREAM":
		return fmt.Errorf("--socket-type %s: HTTP needs SOCK_STREAM", f.socketType)
	case !slices.Contains(logs.Formats(), f.logFormat):
		return fmt.Errorf("--log-format %s: one of %s", f.logFormat, strings.Join(logs.Formats(), ", "))
	}
	if _, err := logs.ParseLevel(f.logLevel); err != nil {
		return fmt.Errorf("--log-level %w", err)
	}
	f.app.Python.PythonPath = filepath.SplitList(f.pythonPath)
	c.Family = f.addressFamily
	c.Address = f.address()
	// On the command line zero is no limit; in a Config it is the default.
	for _, limit := range []*time.Duration{
		&c.Limits.HeaderTimeout, &c.Limits.BodyTimeout, &c.Limits.SendTimeout, &c.Limits.IdleTimeout, &c.GracefulTimeout,
	} {
		*limit = noneIfZero(*limit)
	}
	c.Limits.HeaderSize, c.Limits.Connections = noneIfZero(c.Limits.HeaderSize), noneIfZero(c.Limits.Connections)
	c.Limits.BodySize, c.Limits.Buffered = noneIfZero(c.Limits.BodySize), noneIfZero(c.Limits.Buffered)
	c.SpawnQueue = noneIfZero(c.SpawnQueue)
	return errors.Join(f.finishWebSocket(), f.finishSocketIO())
}

func noneIfZero[T int | int64 | time.Duration](value T) T {
	if value == 0 {
		return -1
	}
	return value
}

// address is what listener.Open takes.
func (f *flags) address() string {
	if f.fd >= 0 {
		return "fd://" + strconv.Itoa(f.fd)
	}
	return listener.Address(f.host, f.port)
}

// durationFlag is a time in Go's way (1m30s), or in seconds as Chaussette 1 had it (10).
type durationFlag struct{ d *time.Duration }

func (f durationFlag) String() string {
	if f.d == nil {
		return ""
	}
	return shortDuration(max(*f.d, 0))
}

func (f durationFlag) Type() string { return "time" }

func (f durationFlag) Set(s string) error {
	d, err := time.ParseDuration(s)
	if seconds, e := strconv.ParseFloat(s, 64); e == nil {
		d, err = time.Duration(seconds*float64(time.Second)), nil
	}
	if err != nil || d < 0 {
		return errors.New("a time such as 10, 1.5s or 2m")
	}
	*f.d = d
	return nil
}

func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	return s
}

// sizeFlag is a number of bytes: 65536, 64KiB, 100MB.
type sizeFlag[T int | int64] struct{ n *T }

func (f sizeFlag[T]) String() string {
	if f.n == nil {
		return ""
	}
	n := uint64(max(*f.n, 0))
	for _, s := range []string{humanize.IBytes(n), humanize.Bytes(n)} { // "2.0 GiB"
		if back, err := humanize.ParseBytes(s); err == nil && back == n {
			return strings.ReplaceAll(strings.ReplaceAll(s, ".0", ""), " ", "")
		}
	}
	return strconv.FormatUint(n, 10)
}

func (f sizeFlag[T]) Type() string { return "size" }

func (f sizeFlag[T]) Set(s string) error {
	n, err := humanize.ParseBytes(s)
	if err != nil || n > 1<<62 || T(n) < 0 {
		return errors.New("a number of bytes such as 65536, 64KiB or 100MB")
	}
	*f.n = T(n)
	return nil
}

// countFlag is a number; 0 stands for no limit.
type countFlag struct{ n *int }

func (f countFlag) String() string {
	if f.n == nil {
		return ""
	}
	return strconv.Itoa(max(*f.n, 0))
}

func (f countFlag) Type() string { return "count" }

func (f countFlag) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return errors.New("a whole number, 0 or more")
	}
	*f.n = n
	return nil
}

// modeFlag is a file mode in octal.
// scriptNameFlag is a path without a slash behind it; the root is empty.
type scriptNameFlag struct{ path *string }

func (f scriptNameFlag) String() string {
	if f.path == nil {
		return ""
	}
	return *f.path
}

func (f scriptNameFlag) Type() string { return "path" }

func (f scriptNameFlag) Set(s string) error {
	if s != "" && s[0] != '/' || strings.ContainsAny(s, "?#") {
		return errors.New("a path that begins with a slash, such as /shop")
	}
	*f.path = strings.TrimRight(s, "/")
	return nil
}

type modeFlag struct{ m *fs.FileMode }

func (f modeFlag) String() string {
	if f.m == nil || *f.m == 0 {
		return ""
	}
	return fmt.Sprintf("%04o", uint32(*f.m))
}

func (f modeFlag) Type() string { return "mode" }

func (f modeFlag) Set(s string) error {
	if s == "" {
		*f.m = 0
		return nil
	}
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o777 {
		return errors.New("a file mode in octal, such as 660")
	}
	*f.m = fs.FileMode(n)
	return nil
}
