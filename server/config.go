package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/chaussette/chaussette/server/limits"
	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/socketio/adminui"
	"github.com/chaussette/chaussette/ws"
)

// Config is all that a worker can be told. The zero value serves on localhost:8080 by
// net/http.
type Config struct {
	// Application is what the log calls the app; empty is what the app calls itself.
	Application string
	// Address is where to serve, as listener.Open takes it; empty is localhost:8080.
	Address string
	// Backlog is the length of the queue of connections not yet accepted, for a socket
	// that the worker binds; 0 is 2048.
	Backlog int
	// Family is the socket's address family: AF_INET, AF_INET6 or AF_UNIX; empty is any.
	// It decides between the addresses of a host. A socket that is of another family by
	// its nature, inherited or Unix, is served all the same, with a warning.
	Family string
	// UnixMode is the file mode of a Unix socket that the worker binds; 0 leaves it to
	// the umask.
	UnixMode fs.FileMode

	// Backend is a name that LookupBackend knows; empty is http.
	Backend string
	// Spawn bounds how many requests the app runs at once; 0 is no bound.
	Spawn int
	// SpawnQueue bounds how many more may wait for their turn; beyond it: 503. 0 is 2048,
	// and negative is none.
	SpawnQueue int
	// Limits are the bounds on HTTP.
	Limits limits.Limits

	// WebSocket is for backends that speak it. Its Logger is Log, and its MaxConnections
	// that of Limits.
	WebSocket ws.Config
	// SocketIO is what the socketio backend makes of clients. Its logger is Log.
	SocketIO socketio.Options

	// Admin has the Socket.IO Admin UI served, with these options; nil is without.
	Admin *adminui.Options

	// WebTransport is a UDP address on which the socketio backend serves that transport as
	// well, host:port; empty is none. It needs a CertFile. Where the worker inherits its
	// socket, its siblings may have the same address.
	WebTransport string

	// Adapter is the URL of what carries Socket.IO to other machines: redis://, rediss://,
	// nats:// or tls:// (see packages socketio/adapter/redis and nats); empty is none.
	Adapter string
	// NoSiblings leaves the other workers on an inherited socket alone. Without it the
	// socketio backend shares sessions, rooms and connections with them.
	NoSiblings bool

	// Loops is how many event loops there are, on backends that have them; 0 is one for
	// every two processors.
	Loops int

	// CertFile and KeyFile are PEM files; where they are set, TLS is served. An empty
	// KeyFile means that CertFile has both.
	CertFile, KeyFile string
	// NoHTTP2 leaves HTTP/2 out.
	NoHTTP2 bool

	// GracefulTimeout bounds a drain; 0 is ten seconds, which is Supervisor's patience,
	// and negative cuts at once.
	GracefulTimeout time.Duration
	// ExitWithParent drains the worker when its parent process ends.
	ExitWithParent bool
	// PreHook and PostHook are commands that are run before the worker listens and after
	// it has stopped.
	PreHook, PostHook string
	// HookEnv is what hooks find in their environment beside the worker's own.
	HookEnv []string
	// Reload executes the program anew, at once, when a file changes: itself, or one of
	// ReloadPaths (files, and folders with the sources in and below them; none is the
	// current folder).
	Reload      bool
	ReloadPaths []string

	// Renew is called on SIGHUP, before the worker drains. It makes what is to be executed
	// in its place; if it returns an error, the worker serves on.
	Renew func(ctx context.Context) error

	// Log gets what the worker has to say; nil is slog.Default.
	Log *slog.Logger
	// AccessLog, where it is set, gets a line for each request.
	AccessLog *slog.Logger
	// ReopenLogs is called on SIGUSR1.
	ReopenLogs func() error
}

const (
	defaultAddress         = "localhost:8080"
	defaultBacklog         = 2048
	defaultSpawnQueue      = 2048
	defaultGracefulTimeout = 10 * time.Second
)

// withDefaults returns c with the default in the place of each zero.
func (c Config) withDefaults() Config {
	if c.Address == "" {
		c.Address = defaultAddress
	}
	if c.Backlog == 0 {
		c.Backlog = defaultBacklog
	}
	if c.Backend == "" {
		c.Backend = backends[0].Name
	}
	switch {
	case c.SpawnQueue == 0:
		c.SpawnQueue = defaultSpawnQueue
	case c.SpawnQueue < 0:
		c.SpawnQueue = 0
	}
	switch {
	case c.GracefulTimeout == 0:
		c.GracefulTimeout = defaultGracefulTimeout
	case c.GracefulTimeout < 0:
		c.GracefulTimeout = 0
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// check finds what contradicts itself.
func (c Config) check() error {
	switch {
	case c.Spawn < 0:
		return fmt.Errorf("--spawn %d: a number of requests, or 0 for no bound", c.Spawn)
	case c.Backlog < 0:
		return fmt.Errorf("--backlog %d: a number of connections", c.Backlog)
	case c.CertFile == "" && c.KeyFile != "":
		return errors.New("--keyfile needs a --certfile")
	}
	if c.WebTransport != "" {
		if err := checkWebTransport(c); err != nil {
			return fmt.Errorf("--webtransport %s: %w", c.WebTransport, err)
		}
	}
	if err := ws.CheckOrigins(c.WebSocket.Origins); err != nil {
		return fmt.Errorf("--origin: %w", err)
	}
	if c.Adapter != "" {
		if err := checkAdapter(c.Adapter); err != nil {
			return fmt.Errorf("--adapter: %w", err)
		}
	}
	return nil
}
