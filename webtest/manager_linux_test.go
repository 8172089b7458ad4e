package webtest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/webtest"
)

// What each manager promises its workers is what they find. The socket was always blocking once,
// whatever the manager: os/exec makes a file so that came from package net.
func TestWhatWorkersInherit(t *testing.T) {
	t.Setenv("WEBTEST_PROBE", "inherited")
	for _, test := range []struct {
		manager  webtest.Manager
		has, not []string
	}{
		{webtest.Circus, []string{"socket 3 nonblocking true", "session leader true", "--fd 3"}, []string{"inherited"}},
		{webtest.Circus.OnUnix(), []string{"socket 3 nonblocking true"}, nil},
		{webtest.Supervisor, []string{"socket 0 nonblocking false", "group leader true", "--fd 0", "environment inherited"}, []string{"socket 3"}},
		{webtest.Systemd, []string{"socket 3 nonblocking true", "for itself true 1", "--host systemd"}, []string{"--fd"}},
		{webtest.Parent, []string{"socket 3 nonblocking false", "--fd 3", "environment inherited"}, []string{"for itself true"}},
	} {
		t.Run(test.manager.String(), func(t *testing.T) {
			pool := webtest.StartProgram(t, test.manager, 1, os.Args[0], []string{roleVariable + "=inspect"}, "an", "argument")
			w := pool.Workers[0]
			if status := w.Stop(); status != 0 {
				t.Errorf("status %d", status)
			}
			for _, text := range append(test.has, "an argument") {
				if !strings.Contains(w.Stdout(), text) {
					t.Errorf("no %q in:\n%s", text, w.Stdout())
				}
			}
			for _, text := range test.not {
				if strings.Contains(w.Stdout(), text) {
					t.Errorf("%q in:\n%s", text, w.Stdout())
				}
			}
		})
	}
}
