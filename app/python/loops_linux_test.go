package python_test

import (
	"testing"
	"time"

	"github.com/chaussette/chaussette/app/python"
	"github.com/chaussette/chaussette/loop"
)

// useLoops has the app's pipe read by an event loop.
func useLoops(t *testing.T, app *python.App) {
	t.Helper()
	g, err := loop.NewGroup(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(10 * time.Second); g.Open() != 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("%d pipes are open after their children", g.Open())
				break
			}
		}
		g.Close()
	})
	app.UseLoops(g)
}
