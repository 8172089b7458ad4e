package examples_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The app is started anew when its file changes, a broken one is not served, and an
// open connection is neither waited for nor closed.
func TestReload(t *testing.T) {
	folder := t.TempDir()
	write := func(body string) {
		t.Helper()
		code := "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [" + body + "]\n"
		if err := os.WriteFile(filepath.Join(folder, "changing.py"), []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("b'one'")
	address, stop := serve(t, "--use-reloader", "--reload-watch", folder, "--python-path", folder, "changing:app")
	wait := func(want string) {
		t.Helper()
		deadline := time.Now().Add(20 * time.Second)
		for {
			body, _ := get(t, address)
			if body == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("got %q, want %q", body, want)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	wait("one")
	write("b'second'")
	wait("second")
	write("broken (")
	time.Sleep(time.Second) // whatever happens now, it must not be served
	wait("second")
	write("b'third time'")
	wait("third time")
	log := stop()
	for _, want := range []string{"Reloaded", "SyntaxError"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	if strings.Count(log, "Serving on") != 1 {
		t.Errorf("the worker has begun anew:\n%s", log)
	}
}
