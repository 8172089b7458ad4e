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
