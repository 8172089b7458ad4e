package python_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/chaussette/chaussette/app/python"
	"github.com/chaussette/chaussette/internal/logtest"
	responses "github.com/chaussette/chaussette/server/buffer"
	"github.com/chaussette/chaussette/server/limits"
	"github.com/chaussette/chaussette/server/std"

	"go.uber.org/goleak"
)

// interpreter is Debian's: the packages that the tests use belong to it, whatever other
// Python the PATH has.
const interpreter = "/usr/bin/python3"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func logger(b *logtest.Buffer) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// served is an app behind a server.
type served struct {
	*python.App
	url    string
	log    *logtest.Buffer
	client *http.Client
	t      *testing.T
}

// modes are all ways to run an app; threads and serial need nothing installed.
var modes = []python.Mode{python.Serial, python.Threads, python.Gevent, python.Eventlet, python.Tornado}

func serve(t *testing.T, name string, opts python.Options) *served {
	t.Helper()
	log := new(logtest.Buffer)
	if opts.Interpreter == "" {
		opts.Interpreter = interpreter
	}
	opts.PythonPath = append(opts.PythonPath, "testdata")
	opts.Logger = logger(log)
	app, err := python.Open(t.Context(), name, &opts)
	if err != nil {
		t.Fatal(err)
	}
	// Two ways to read the pipe, and what reads it knows nothing of modes.
	if opts.Mode != python.Threads && opts.Mode != python.Tornado {
		useLoops(t, app)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := app.Start(ctx); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// The worker's own engine, which lends connections; TestPlainNetHTTP has another.
	handler := http.Handler(app)
	if opts.Buffered {
		handler = responses.Handler(app, 0, opts.Logger)
	}
	options := &std.Options{Log: opts.Logger, Limits: limits.Limits{HeaderSize: 1 << 20}}
	if opts.Buffered {
		options.Hold = responses.InMemory
	}
	engine := std.New(handler, options)
	serving := make(chan error, 1)
	go func() { serving <- engine.Serve(listener) }()
	transport := &http.Transport{}
	s := &served{App: app, url: "http://" + listener.Addr().String(), log: log, client: &http.Client{Transport: transport}, t: t}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = engine.Close()
		if err := <-serving; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := app.Close(ctx); err != nil {
			t.Errorf("close: %v\n%s", err, log)
		}
		if t.Failed() && os.Getenv("PYTHON_LOG") != "" {
			t.Logf("log:\n%s", log)
		}
	})
	return s
}

// get returns status, body and header of a GET.
func (s *served) get(path string) (int, string, http.Header) {
	s.t.Helper()
	return s.do("GET", path, nil)
}

func (s *served) do(method, path string, body io.Reader) (int, string, http.Header) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Errorf("%s %s: %v", method, path, err)
		return 0, "", nil
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, string(data) + " (" + err.Error() + ")", resp.Header
	}
	return resp.StatusCode, string(data), resp.Header
}

// want fails unless a GET of path gives status and body.
func (s *served) want(path string, status int, body string) {
	s.t.Helper()
	gotStatus, gotBody, _ := s.get(path)
	if gotStatus != status || gotBody != body {
		s.t.Errorf("GET %s: %d %.200q, want %d %.200q", path, gotStatus, gotBody, status, body)
	}
}
