package webtest_test

import (
	"os"
	"testing"
	"time"

	"github.com/chaussette/chaussette/webtest"
)

// Four workers under the load of 64 clients that keep their connection and 16 that
// connect anew each time, each worker replaced in turn, twice round: not one request
// fails. SOAK is how long to go round, for `make soak`.
func TestRollingRestart(t *testing.T) {
	var soak time.Duration
	if s := os.Getenv("SOAK"); s != "" {
		var err error
		if soak, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range []webtest.Manager{webtest.Circus, webtest.Supervisor} {
		t.Run(m.String(), func(t *testing.T) {
			pool := webtest.Start(t, m, 4)
			load := startLoad(t, pool, 64, 16)
			start := time.Now()
			for round := 0; round < 2 || time.Since(start) < soak; round++ {
				for i := range pool.Workers {
					pool.Workers[i].Restart()
				}
			}
			elapsed := time.Since(start)
			t.Logf("%d requests in %v", load.stop(), elapsed.Round(time.Millisecond))
		})
	}
}

// The same with SIGHUP, which keeps the pids: alone on its own socket, a worker answers
// every request as well.
func TestReloadUnderLoad(t *testing.T) {
	for _, m := range []webtest.Manager{webtest.Circus, webtest.Supervisor.OnUnix(), webtest.Alone} {
		t.Run(m.String(), func(t *testing.T) {
			pool := webtest.Start(t, m, 1)
			load := startLoad(t, pool, 8, 4)
			w := pool.Workers[0]
			for range 3 {
				reload(w)
			}
			if n := load.stop(); n == 0 {
				t.Error("nothing was asked meanwhile")
			}
			if status := w.Stop(); status != 0 {
				t.Errorf("exit status %d", status)
			}
		})
	}
}
