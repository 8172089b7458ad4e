package webtest_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/webtest"
)

// adminHash is bcrypt's of "secret".
const adminHash = "$2a$10$l.sd.X0WHQ8NCaP4YSmcNeuIG.RsWp7QI2vS0wherQw7m.6OYat.m"

// The Socket.IO Admin UI as it is published, in a real browser and from an origin of its own,
// with one worker and with several, also where events have offsets.
func TestAdminUI(t *testing.T) {
	for _, program := range []string{"node", "chromium"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatal(program + " is not installed: make setup does that")
		}
	}
	files := filepath.Join("clients", "node_modules", "@socket.io", "admin-ui", "ui", "dist")
	for workers, more := range map[int][]string{1: nil, 2: nil, 3: {"--socketio-recovery", "1m"}} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			ui := httptest.NewServer(http.FileServer(http.Dir(files)))
			t.Cleanup(ui.Close)
			p := webtest.StartProgram(t, webtest.Circus, workers, webtest.Build(t, "./siblingsapp"),
				[]string{"CHAUSSETTE_SOCKETIO_ADMIN=ada:" + adminHash}, append(more, "--backend", "socketio", "--cors-origin", ui.URL)...)
			ctx, cancel := context.WithTimeout(t.Context(), 5*webtest.Patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, "node", "adminui.js", "http://"+p.Addr.String(), ui.URL, fmt.Sprint(workers))
			cmd.Dir = "clients"
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err != nil {
				t.Errorf("%v\n%s", err, out.String())
			}
			all := ""
			for _, w := range p.Workers {
				all += w.Log()
			}
			for _, want := range []string{"wrong credentials", "logged in", "join vip"} {
				if !strings.Contains(all, want) {
					t.Errorf("%q is not in the log", want)
				}
			}
			if strings.Contains(all, adminHash) || strings.Contains(all, "secret") {
				t.Error("the log has a secret")
			}
		})
	}
}
