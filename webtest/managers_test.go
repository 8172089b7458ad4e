package webtest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/webtest"
)

// Under each manager every worker serves its share, and is replaced under load without a
// failed request.
func TestManagers(t *testing.T) {
	for _, m := range []webtest.Manager{
		webtest.Circus, webtest.Circus.OnUnix(), webtest.Supervisor, webtest.Supervisor.OnUnix(),
		webtest.Systemd, webtest.Parent,
	} {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			pool := webtest.Start(t, m, 3, "--access-log", "-")
			serveAll(t, pool)
			load := startLoad(t, pool, 4, 2)
			for i := range pool.Workers {
				pool.Workers[i].Restart()
			}
			serveAll(t, pool)
			if n := load.stop(); n == 0 {
				t.Error("nothing was asked meanwhile")
			}
		})
	}
}

// serveAll asks until each worker has answered. Those that wait for a connection do so
// in turn, so a few rounds do, unless one is kept from waiting.
func serveAll(t *testing.T, pool *webtest.Pool) {
	t.Helper()
	for end := time.Now().Add(webtest.Patience); time.Now().Before(end); {
		if body := pool.Get("/"); body != "hello world" {
			t.Fatalf("got %q", body)
		}
		idle := 0
		for _, w := range pool.Workers {
			if !strings.Contains(w.Log(), "status=200") {
				idle++
			}
		}
		if idle == 0 {
			return
		}
	}
	t.Error("a worker has served nothing")
}
