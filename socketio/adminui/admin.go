package adminui

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/cluster"
)

// Mode is how much the page is told.
type Mode string

const (
	// Development tells of every socket, room and event.
	Development Mode = "development"
	// Production tells of statistics alone: numbers of clients, messages and bytes.
	Production Mode = "production"
)

// Options of Register. Username and PasswordHash are needed, or NoAuth.
type Options struct {
	// Username and PasswordHash are what the page has to log in with. The hash is one of
	// bcrypt, as `htpasswd -nB` and Node's bcryptjs make, of a cost up to 16.
	Username, PasswordHash string
	// NoAuth lets everybody in who can connect.
	NoAuth bool
	// ReadOnly leaves out the commands.
	ReadOnly bool
	// Mode is Development if empty.
	Mode Mode
	// Namespace is "/admin" if empty.
	Namespace string
	// ServerID is this server's among those of one page; empty means host#pid.
	ServerID string
	// SessionLifetime is how long a login is good for when the page connects again; 0
	// means 24 hours.
	SessionLifetime time.Duration
	// Logger is told of logins and commands. Nil means the Server's.
	Logger *slog.Logger
}

// maxCost bounds the time of a login: 2^16 rounds are some seconds.
const maxCost = 16

func (o *Options) check() error {
	switch {
	case o.Mode != Development && o.Mode != Production:
		return fmt.Errorf("adminui: mode %q: %s or %s", o.Mode, Development, Production)
	case o.NoAuth && (o.Username != "" || o.PasswordHash != ""):
		return errors.New("adminui: NoAuth, and a username or password hash")
	case o.NoAuth:
		return nil
	case o.Username == "" || o.PasswordHash == "":
		return errors.New("adminui: a username and a password hash are needed, unless NoAuth is set")
	}
	return CheckHash(o.PasswordHash)
}

// CheckHash tells whether hash is one that Options.PasswordHash takes.
func CheckHash(hash string) error {
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil || len(hash) != hashLength {
		return errors.New("adminui: the password hash is none of bcrypt, which begins with $2a$, $2b$ or $2y$ and has 60 characters")
	}
	if cost > maxCost {
		return fmt.Errorf("adminui: the password hash has a cost of %d: at most %d", cost, maxCost)
	}
	return nil
}

const hashLength = 60

// admin is a Server with the admin UI.
type admin struct {
	io      *socketio.Server
	ns      *socketio.Namespace
	options Options
	log     *slog.Logger
	logins  *logins // nil with NoAuth
	stats   *stats
	events  *events
	// alone: there is one worker, so who is not here is nowhere. asking: all workers are of
	// this server and say when a page is watching; Node's do not.
	alone, asking bool
}

// Register adds the admin UI to io. It is called before io serves, and before the app
// registers its events, and once. What it has running ends with io.Close.
func Register(io *socketio.Server, options *Options) error {
	var o Options
	if options != nil {
		o = *options
	}
	o.Mode = cmp.Or(o.Mode, Development)
	o.Namespace = cmp.Or(o.Namespace, "/admin")
	o.SessionLifetime = cmp.Or(o.SessionLifetime, 24*time.Hour)
	if o.Logger == nil {
		o.Logger = io.Options().Logger
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	o.ServerID = cmp.Or(o.ServerID, fmt.Sprintf("%s#%d", host, os.Getpid()))
	if err := o.check(); err != nil {
		return err
	}
	if io.Engine().Observed() {
		return errors.New("adminui: registered already")
	}
	ns := io.Of(o.Namespace)
	if ns.Pattern() != nil {
		// All namespaces of the pattern would be the page's.
		return fmt.Errorf("adminui: a pattern has %s: register the admin UI before it", o.Namespace)
	}
	a := &admin{io: io, ns: ns, options: o, log: o.Logger}
	_, a.alone = a.ns.Adapter().(*adapter.Memory)
	_, a.asking = a.ns.Adapter().(*cluster.Adapter)
	if !o.NoAuth {
		a.logins = newLogins(a.ns, &a.options)
	}
	a.ns.Use(a.admit)
	a.stats = newStats(host)
	a.events = newEvents(a)
	io.Engine().Observe(&observer{a})
	a.ns.OnConnect(a.welcome)
	a.ns.OnDisconnect(func(*socketio.Socket, socketio.Reason) { a.events.watch(-1) })
	if !o.ReadOnly {
		a.command()
	}
	if o.Mode == Development {
		a.ns.OnServerSide(askNamespaces, func(socketio.Args) ([]any, error) {
			// Who asks is about to fetch all sockets, and wants to hear of what comes then.
			a.events.watchElsewhere(false)
			return []any{a.names()}, nil
		})
		a.ns.OnServerSide(tellWatching, func(socketio.Args) ([]any, error) {
			a.events.watchElsewhere(true)
			return nil, nil
		})
		io.OnNamespace(a.listen)
	}
	io.OnClose(a.events.close)
	go a.events.run()
	return nil
}

// admit is the namespace's middleware.
func (a *admin) admit(s *socketio.Socket) error {
	auth := s.Auth()
	s.ForgetAuth()
	if a.logins == nil {
		return nil
	}
	return a.logins.admit(s, auth)
}

// welcome is called for a page that has logged in.
func (a *admin) welcome(s *socketio.Socket) {
	a.events.watch(1) // before it gets all sockets: what comes later it is told
	if l, ok := s.Data().(login); ok && l.session != "" {
		_ = s.Emit("session", l.session)
	}
	_ = s.Emit("config", map[string]any{"supportedFeatures": a.features()})
	if a.options.Mode == Development {
		ctx, cancel := contextOf(s)
		defer cancel()
		_ = s.Emit("all_sockets", a.everyone(ctx))
	}
	_ = s.Emit("server_stats", a.report(nil))
}

// features are what the page offers.
func (a *admin) features() []string {
	f := []string{"AGGREGATED_EVENTS"}
	if a.options.Mode == Development {
		f = append(f, "ALL_EVENTS")
	}
	if !a.options.ReadOnly {
		f = append(f, "EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT")
	}
	return f
}
