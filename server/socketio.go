package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adminui"
	"github.com/chaussette/chaussette/socketio/engineio"
)

// socketIO is the Socket.IO server of the socketio backend, with the app's events; nil
// for other backends, and for an app that has none.
func (w *Worker) socketIO(f *kin) (*socketio.Server, broker, error) {
	if !w.backend.SocketIO {
		if w.config.Adapter != "" {
			w.log.Warn("--adapter is not used: it is for --backend socketio")
		}
		return nil, nil, nil
	}
	app, ok := w.app.(socketio.App)
	if !ok && w.config.Admin != nil {
		return nil, nil, &UsageError{errors.New("--socketio-admin: the app registers no Socket.IO events")}
	}
	if !ok {
		w.log.Info("The app registers no Socket.IO events: it is served as it stands")
		return nil, nil, nil
	}
	b, err := w.openBroker(f)
	if err != nil {
		return nil, nil, err
	}
	options := w.config.SocketIO
	options.Logger = w.log
	if w.config.WebTransport != "" {
		addWebTransport(&options.Engine)
	}
	f.join(&options)
	adapterFor(&options, b)
	io := socketio.NewServer(&options)
	if w.config.Admin != nil {
		if err := adminui.Register(io, w.config.Admin); err != nil {
			return nil, nil, errors.Join(&UsageError{err}, io.Close(), closeBroker(b))
		}
	}
	f.takeStreams(io.Engine())
	app.RegisterSocketIO(io)
	return io, b, nil
}

func closeBroker(b broker) error {
	if b == nil {
		return nil
	}
	return b.Close()
}

// socketIOFlags defines the options of the socketio backend. The zero of socketio.Options is
// the default; the flags show what that is.
func (f *flags) socketIOFlags(s *pflag.FlagSet) {
	o := &f.config.SocketIO
	e := &o.Engine
	e.PingInterval, e.PingTimeout, e.UpgradeTimeout, e.MaxPayload = 25*time.Second, 20*time.Second, 10*time.Second, 1_000_000
	e.MaxQueue, e.CompressionThreshold, o.ConnectTimeout = 1<<20, 1024, 45*time.Second
	s.StringVar(&e.Path, "socketio-path", "/socket.io/", "`path` under which clients connect")
	s.StringSliceVar(&f.revisions, "socketio-revisions", []string{"0.9", "3", "4"}, "`revisions` of the protocol that are served: 0.9, and 3 and 4 of Engine.IO")
	s.StringSliceVar(&e.Origins, "cors-origin", nil, "`origins` whose pages may connect beside those of the same host: https://example.com, *.example.com, or * for any")
	s.Var(durationFlag{&e.PingInterval}, "socketio-ping-interval", "time between two heartbeats")
	s.Var(durationFlag{&e.PingTimeout}, "socketio-ping-timeout", "time in which a heartbeat must be answered")
	s.Var(durationFlag{&e.UpgradeTimeout}, "socketio-upgrade-timeout", "time that an upgrade may take, and the first packet on WebTransport")
	s.Var(durationFlag{&o.ConnectTimeout}, "socketio-connect-timeout", "time that a client may be in no namespace")
	s.Var(sizeFlag[int64]{&e.MaxPayload}, "socketio-max-payload", "bytes of a message, and of a polling request, that are taken from a client")
	s.Var(sizeFlag[int64]{&e.MaxQueue}, "socketio-max-queue", "bytes that may wait for a slow client, beyond which it is disconnected")
	s.Var(countFlag{&e.MaxSessions}, "socketio-max-sessions", "clients connected at once, beyond which new ones get 503")
	s.StringVar(&f.config.WebTransport, "webtransport", "", "UDP `address` on which WebTransport is served as well, such as :443; with --certfile; off by default")
	s.StringVar(&f.config.Adapter, "adapter", "", "`URL` of what joins the workers of several machines: redis://host:6379 or rediss://, in the format of Node's adapter, also with ?sharded=1 and ?prefix=name; or nats://host:4222")
	s.BoolVar(&f.config.NoSiblings, "no-siblings", false, "know nothing of the other workers on an inherited socket: no session, room, group or connection is shared with them")
	s.StringVar(&f.admin, "socketio-admin", "", "`USER:HASH` with which the Socket.IO Admin UI logs in, as htpasswd -nB prints it; better in the environment, since ps shows arguments; off by default")
	s.StringVar((*string)(&f.adminOptions.Mode), "socketio-admin-mode", string(adminui.Development), "with --socketio-admin: `mode`, "+string(adminui.Development)+" or "+string(adminui.Production)+", which tells of numbers alone")
	s.BoolVar(&f.adminOptions.ReadOnly, "socketio-admin-readonly", false, "with --socketio-admin: it shows, and sends, joins and disconnects nothing")
	s.Var(durationFlag{&f.recovery}, "socketio-recovery", "time in which a client that was away gets back its session and what it missed; 0 is off")
}

// finishSocketIO makes the socketio options of those that need a look.
func (f *flags) finishSocketIO() error {
	o := &f.config.SocketIO
	for _, name := range f.revisions {
		r, ok := engineio.ParseRevision(name)
		if !ok {
			return fmt.Errorf("--socketio-revisions %s: 0.9, 3 or 4", name)
		}
		if !slices.Contains(o.Engine.Revisions, r) {
			o.Engine.Revisions = append(o.Engine.Revisions, r)
		}
	}
	if p := o.Engine.Path; !strings.HasPrefix(p, "/") {
		return fmt.Errorf("--socketio-path %s: it begins with a slash", p)
	}
	o.Engine.Path = strings.TrimSuffix(o.Engine.Path, "/") + "/"
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = -1
	}
	if err := f.finishAdmin(); err != nil {
		return err
	}
	if f.recovery > 0 {
		o.Recovery = &socketio.Recovery{Recovery: adapter.Recovery{MaxDisconnection: f.recovery}}
	}
	return nil
}

// finishAdmin makes the options of the admin UI.
func (f *flags) finishAdmin() error {
	o := f.adminOptions
	if o.Mode != adminui.Development && o.Mode != adminui.Production {
		return fmt.Errorf("--socketio-admin-mode %s: %s or %s", o.Mode, adminui.Development, adminui.Production)
	}
	if f.admin == "" {
		if o.ReadOnly || o.Mode != adminui.Development {
			return errors.New("--socketio-admin-mode and --socketio-admin-readonly: with --socketio-admin")
		}
		return nil
	}
	// The text is not in the error: the log is no place for it.
	user, hash, ok := strings.Cut(strings.TrimSpace(f.admin), ":")
	if !ok || user == "" {
		return errors.New("--socketio-admin: a user and a bcrypt hash with a colon between them, as htpasswd -nB prints them")
	}
	if err := adminui.CheckHash(hash); err != nil {
		return fmt.Errorf("--socketio-admin: %s", strings.TrimPrefix(err.Error(), "adminui: "))
	}
	o.Username, o.PasswordHash = user, hash
	f.config.Admin = &o
	return nil
}
