package server

import (
	"slices"
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
