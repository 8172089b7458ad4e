package server

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/chaussette/chaussette/socketio/engineio"
)

func parse(t *testing.T, args ...string) (*flags, error) {
	t.Helper()
	f := newFlags()
	set := pflag.NewFlagSet("chaussette", pflag.ContinueOnError)
	for _, g := range f.groups {
		set.AddFlagSet(g.set)
	}
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f, f.finish(set)
}

func TestSocketIOFlags(t *testing.T) {
	f, err := parse(t, "--socketio-revisions", "4", "--socketio-ping-interval", "300ms", "--socketio-max-payload", "1MB",
		"--cors-origin", "*", "--socketio-connect-timeout", "0", "--socketio-recovery", "1m", "--socketio-path", "/io")
	if err != nil {
		t.Fatal(err)
	}
	o := f.config.SocketIO
	if !slices.Equal(o.Engine.Revisions, []engineio.Revision{engineio.Revision4}) || o.Engine.PingInterval != 300*time.Millisecond ||
		o.Engine.MaxPayload != 1_000_000 || !slices.Equal(o.Engine.Origins, []string{"*"}) || o.ConnectTimeout != -1 ||
		o.Recovery == nil || o.Recovery.MaxDisconnection != time.Minute || o.Engine.Path != "/io/" {
		t.Errorf("%+v", o)
	}
	if f, err := parse(t); err != nil || len(f.config.SocketIO.Engine.Revisions) != 3 || f.config.SocketIO.Recovery != nil {
		t.Errorf("%+v %v", f.config.SocketIO, err)
	}
	for _, args := range [][]string{{"--socketio-revisions", "5"}, {"--socketio-path", "io"}} {
		if _, err := parse(t, args...); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}

// What is wrong with --socketio-admin is said, and the hash is not.
func TestAdminFlags(t *testing.T) {
	const hash = "$2y$10$l.sd.X0WHQ8NCaP4YSmcNeuIG.RsWp7QI2vS0wherQw7m.6OYat.m"
	f, err := parse(t, "--socketio-admin", "ada:"+hash+"\n", "--socketio-admin-mode", "production", "--socketio-admin-readonly")
	if o := f.config.Admin; err != nil || o == nil || o.Username != "ada" || o.PasswordHash != hash || o.Mode != "production" || !o.ReadOnly {
		t.Errorf("%+v %v", o, err)
	}
	if f, err := parse(t); err != nil || f.config.Admin != nil {
		t.Errorf("%+v %v", f.config.Admin, err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no user":         {[]string{"--socketio-admin", hash}, "a colon"},
		"an empty user":   {[]string{"--socketio-admin", ":" + hash}, "a colon"},
		"the password":    {[]string{"--socketio-admin", "ada:secret"}, "bcrypt"},
		"a part":          {[]string{"--socketio-admin", "ada:" + hash[:50]}, "bcrypt"},
		"a cost":          {[]string{"--socketio-admin", "ada:$2y$31$" + hash[7:]}, "at most 16"},
		"another mode":    {[]string{"--socketio-admin", "ada:" + hash, "--socketio-admin-mode", "test"}, "production"},
		"a mode alone":    {[]string{"--socketio-admin-mode", "production"}, "with --socketio-admin"},
		"read only alone": {[]string{"--socketio-admin-readonly"}, "with --socketio-admin"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parse(t, c.args...); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), hash[7:40]) || strings.Contains(err.Error(), "secret") {
				t.Error(err)
			}
		})
	}
	if _, err := New(nil, Config{Backend: "ws4py", Admin: f.config.Admin}); err == nil || !strings.Contains(err.Error(), "--backend socketio, not ws4py") {
		t.Error(err)
	}
}

// A wrong --adapter is a usage error that says what is right, and shows no password.
func TestAdapterFlag(t *testing.T) {
	for address, want := range map[string]string{
		"redis://user:secret@host:1/2?sharded=1&prefix=p": "",
		"rediss://host":                             "",
		"nats://a:1,nats://b:2?prefix=p.q":          "",
		"tls://host":                                "",
		"host:6379":                                 "redis://",
		"postgres://user:secret@host":               "nats://",
		"redis://user:secret@host:x":                "port",
		"redis://host?sharded=some":                 "static",
		"redis://host?nonsense=1":                   "nonsense",
		"nats://user:secret@host?nonsense=1":        "nonsense",
		"nats://user:secret@host,http://u:secret@h": "http",
	} {
		f, err := parse(t, "--adapter", address)
		if err != nil {
			t.Fatal(err)
		}
		err = f.config.check()
		switch {
		case (err == nil) != (want == ""), err != nil && !strings.Contains(err.Error(), want):
			t.Errorf("%s: %v", address, err)
		case err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: the password is shown: %v", address, err)
		}
	}
}
