package server_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/internal/logtest"
	"github.com/chaussette/chaussette/server"
)

// logBuffer is a log that a test reads while the worker writes it.
type logBuffer struct {
	logtest.Buffer
	wrote chan struct{}
}

func newLogBuffer() *logBuffer { return &logBuffer{wrote: make(chan struct{}, 1)} }

func (l *logBuffer) Write(p []byte) (int, error) {
	n, err := l.Buffer.Write(p)
	select {
	case l.wrote <- struct{}{}:
	default:
	}
	return n, err
}

// wait waits for a match of pattern, and returns its groups.
func (l *logBuffer) wait(t *testing.T, pattern string) []string {
	t.Helper()
	end := time.After(20 * time.Second)
	for {
		if m := regexp.MustCompile(pattern).FindStringSubmatch(l.String()); m != nil {
			return m
		}
		select {
		case <-l.wrote:
		case <-end:
			t.Fatalf("no %q in the log:\n%s", pattern, l)
		}
	}
}

// lifeApp tells when it is started, closed and called.
type lifeApp struct {
	events chan string
	start  error
}

func (a *lifeApp) String() string { return "life" }

func (a *lifeApp) Start(context.Context) error { a.events <- "start"; return a.start }
func (a *lifeApp) Close(context.Context) error { a.events <- "close"; return nil }
func (a *lifeApp) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	a.events <- "request"
	_, _ = io.WriteString(w, "served")
}

// The order of a life: the app starts, the pre-hook runs, the socket opens; and the
// other way round at the end.
func TestLife(t *testing.T) {
	folder := t.TempDir()
	hooks := filepath.Join(folder, "hooks")
	log := newLogBuffer()
	a := &lifeApp{events: make(chan string, 10)}
	w, err := server.New(a, server.Config{
		Address:  "127.0.0.1:0",
		PreHook:  `echo "pre $CHAUSSETTE_BACKEND" >> ` + hooks + `; echo to the log`,
		PostHook: `echo post >> ` + hooks,
		HookEnv:  []string{"CHAUSSETTE_BACKEND=http"},
		Log:      slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	address := log.wait(t, `Serving on (127\S*:\d+)`)[1]
	log.wait(t, "as a backend")
	log.wait(t, "to the log")

	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if string(body) != "served" {
		t.Errorf("got %q", body)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v", err)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("the socket is open after the end")
	}
	close(a.events)
	var events []string
	for e := range a.events {
		events = append(events, e)
	}
	if got := strings.Join(events, " "); got != "start request close" {
		t.Errorf("the app saw %s", got)
	}
	if got, _ := os.ReadFile(hooks); string(got) != "pre http\npost\n" {
		t.Errorf("the hooks wrote %q", got)
	}
}

// What has been set up is taken down where something later fails.
func TestLifeCutShort(t *testing.T) {
	refused := errors.New("no database")
	for _, c := range []struct {
		name   string
		app    *lifeApp
		config server.Config
		events string
		post   bool
	}{
		{"the app does not start", &lifeApp{start: refused}, server.Config{}, "start", false},
		{"the pre-hook fails", &lifeApp{}, server.Config{PreHook: "false"}, "start close", false},
		{"the socket cannot be opened", &lifeApp{}, server.Config{Address: "fd://999"}, "start close", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			post := filepath.Join(t.TempDir(), "post")
			c.app.events = make(chan string, 10)
			c.config.PostHook, c.config.Log = "touch "+post, slog.New(slog.DiscardHandler)
			w, err := server.New(c.app, c.config)
			if err != nil {
				t.Fatal(err)
			}
			var open *server.OpenError
			if err := w.Run(context.Background()); !errors.As(err, &open) || server.ExitStatus(err) != 3 {
				t.Errorf("Run = %v (exit status %d)", err, server.ExitStatus(err))
			}
			close(c.app.events)
			var events []string
			for e := range c.app.events {
				events = append(events, e)
			}
			if got := strings.Join(events, " "); got != c.events {
				t.Errorf("the app saw %s, want %s", got, c.events)
			}
			if _, err := os.Stat(post); (err == nil) != c.post {
				t.Errorf("the post-hook ran: %v, want %v", err == nil, c.post)
			}
		})
	}
}

func TestBackends(t *testing.T) {
	for _, b := range server.Backends() {
		for _, name := range append([]string{b.Name}, b.Aliases...) {
			if got, err := server.LookupBackend(name); err != nil || got.Name != b.Name {
				t.Errorf("LookupBackend(%q) = %v, %v", name, got, err)
			}
		}
		if b.Help == "" {
			t.Errorf("%s has no help", b.Name)
		}
	}
}

// A buffering backend with --spawn 1: a client that is slow with its request does not
// hold the app's only place.
func TestSpawnWithABufferingBackend(t *testing.T) {
	log := newLogBuffer()
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})
	w, err := server.New(app, server.Config{Address: "127.0.0.1:0", Backend: "waitress", Spawn: 1,
		Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	defer func() { stop(); <-ended }()
	address := log.wait(t, `Serving on (127\S*:\d+)`)[1]

	slow, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	_, _ = io.WriteString(slow, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nha")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	r, err := client.Post("http://"+address, "text/plain", strings.NewReader("quick"))
	if err != nil {
		t.Fatalf("while another request arrives: %v", err)
	}
	if body, _ := io.ReadAll(r.Body); string(body) != "quick" {
		t.Errorf("got %q", body)
	}
	_ = r.Body.Close()
}
