package server_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/app"
	"github.com/chaussette/chaussette/server"
)

func TestOptions(t *testing.T) {
	parse := func(t *testing.T, args ...string) server.Config {
		t.Helper()
		c, err := server.ParseArgs(args...)
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		return c
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "localhost:8080"},
		{[]string{"--port", "0"}, "localhost:0"},
		{[]string{"--host", "0.0.0.0", "--port", "80"}, "0.0.0.0:80"},
		{[]string{"--host", "::1"}, "[::1]:8080"},
		{[]string{"--host", "[::1]"}, "[::1]:8080"},
		{[]string{"--fd", "0"}, "fd://0"},
		{[]string{"--fd", "-1"}, "localhost:8080"},
		{[]string{"--fd", "5", "--backlog", "9"}, "fd://5"},
		{[]string{"--host", "fd://7"}, "fd://7"},
		{[]string{"--host", "unix:/run/x.sock", "--backlog", "9"}, "unix:/run/x.sock"},
		{[]string{"--host", "systemd"}, "systemd"},
	} {
		if got := parse(t, c.args...).Address; got != c.want {
			t.Errorf("%q: Address %q, want %q", c.args, got, c.want)
		}
	}

	c := parse(t)
	if c.Backend != "http" || c.Backlog != 2048 || c.GracefulTimeout != 10*time.Second || c.Limits.BodySize != 100<<20 {
		t.Errorf("defaults: %+v", c)
	}
	c = parse(t, "--graceful-timeout", "30", "--header-timeout", "1.5s", "--max-body-size", "0", "--max-header-size", "8KiB",
		"--unix-mode", "660", "--idle-timeout", "0", "--spawn-queue", "0")
	if c.GracefulTimeout != 30*time.Second || c.Limits.HeaderTimeout != 1500*time.Millisecond || c.Limits.BodySize >= 0 ||
		c.Limits.HeaderSize != 8<<10 || c.UnixMode != 0o660 || c.Limits.IdleTimeout >= 0 || c.SpawnQueue >= 0 {
		t.Errorf("as given: %+v", c)
	}
}

func TestOptionsFromTheEnvironment(t *testing.T) {
	t.Setenv("CHAUSSETTE_BACKEND", "gevent")
	t.Setenv("CHAUSSETTE_MAX_BODY_SIZE", "1KiB")
	t.Setenv("CHAUSSETTE_PORT", "81")
	c, err := server.ParseArgs("--port", "82")
	if err != nil || c.Backend != "gevent" || c.Limits.BodySize != 1024 || c.Address != "localhost:82" {
		t.Errorf("%+v, %v", c, err)
	}
	// The socket of the command line, whatever others the environment names.
	t.Setenv("CHAUSSETTE_HOST", "0.0.0.0")
	if c, err := server.ParseArgs("--fd", "3"); err != nil || c.Address != "fd://3" {
		t.Errorf("--fd 3: %+v, %v", c, err)
	}
	t.Setenv("CHAUSSETTE_FD", "4")
	if c, err := server.ParseArgs("--host", "::1"); err != nil || c.Address != "[::1]:81" {
		t.Errorf("--host ::1: %+v, %v", c, err)
	}
	if _, err := server.ParseArgs(); err == nil || !strings.Contains(err.Error(), "exclude") {
		t.Errorf("both in the environment: %v", err)
	}
	t.Setenv("CHAUSSETTE_SPAWN", "many")
	if _, err := server.ParseArgs(); err == nil || !strings.Contains(err.Error(), "CHAUSSETTE_SPAWN") {
		t.Errorf("a bad variable: %v", err)
	}
}

func TestBadOptions(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--fd 3 --host x", "exclude"},
		{"--fd -2", "--fd -2"},
		{"--fd $(circus.sockets.web)", "--fd"},
		{"--port 65536", "65535"},
		{"--address-family AF_X25", "AF_INET6"},
		{"--socket-type SOCK_DGRAM", "SOCK_STREAM"},
		{"--log-level loud", "critical"},
		{"--log-format xml", "json"},
		{"--graceful-timeout soon", "1.5s"},
		{"--graceful-timeout -1", "1.5s"},
		{"--max-body-size big", "64KiB"},
		{"--max-connections -3", "0 or more"},
		{"--unix-mode 999", "octal"},
		{"--script-name shop", "begins with a slash"},
		{"--script-name /shop?q", "begins with a slash"},
		{"--no-such-option", "no-such-option"},
	} {
		if _, err := server.ParseArgs(strings.Fields(c.args)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want something of %q", c.args, err, c.want)
		}
	}
}

// run runs the command, as its main does, up to its exit status.
func run(t *testing.T, args ...string) (status int, stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	cmd := server.Command(app.Open, nil)
	cmd.SetArgs(append(args, "--log-output", filepath.Join(t.TempDir(), "log")))
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	err = cmd.ExecuteContext(context.Background())
	return server.ExitStatus(err), out.String(), err
}

func TestRefusals(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--backend", "waitres"}, 2, "did you mean waitress?"},
		{[]string{"--backend", "htp"}, 2, "there are http, wsgiref, waitress"},
		{[]string{"helo"}, 2, "did you mean hello?"},
		{[]string{"./chat.App"}, 2, "Go app"},
		{[]string{"--spawn", "-1"}, 2, "--spawn -1"},
		{[]string{"--keyfile", missing}, 2, "--certfile"},
		{[]string{"--bogus"}, 2, "--bogus"},
		{[]string{"--certfile", missing}, 3, "the certificate"},
		{[]string{"--fd", "999"}, 3, "999"},
		{[]string{"--host", "unix:" + missing + "/x.sock"}, 3, "no such file"},
		{[]string{"--pre-hook", "exit 7", "--port", "0"}, 3, "the pre-hook: exit status 7"},
	} {
		status, _, err := run(t, c.args...)
		if status != c.status || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: status %d, %v; want %d and something of %q", c.args, status, err, c.status, c.want)
		}
	}
}

// What a hook finds in its environment means, to a chaussette that it may call, what the
// command line meant.
func TestHookEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "environment")
	args := []string{"--port", "0", "--idle-timeout", "0", "--graceful-timeout", "0", "--max-body-size", "1000001", "--spawn-queue", "0"}
	status, _, err := run(t, append(args, "--pre-hook", "env > "+file+"; exit 1", "hello", "one", "two")...)
	if status != 3 {
		t.Fatal(status, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CHAUSSETTE_APPLICATION=hello\n", "CHAUSSETTE_ARGUMENTS=one two\n", "CHAUSSETTE_MAX_BODY_SIZE=1000001\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in:\n%s", want, text)
		}
	}
	want, err := server.ParseArgs(args...)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "="); strings.HasPrefix(name, "CHAUSSETTE_") && name != "CHAUSSETTE_PRE_HOOK" {
			t.Setenv(name, value)
		}
	}
	got, err := server.ParseArgs()
	if err != nil || got.Limits != want.Limits || !slices.Equal(got.SocketIO.Engine.Revisions, want.SocketIO.Engine.Revisions) || got.Address != want.Address || got.GracefulTimeout != want.GracefulTimeout || got.SpawnQueue != want.SpawnQueue {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

func TestHelp(t *testing.T) {
	status, help, err := run(t, "--help")
	if status != 0 {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Applications:", "hello", "Backends:", "http, wsgiref", "waitress", "Limits", "--graceful-timeout",
		"CHAUSSETTE_LOG_LEVEL", "Examples:", "--fd $(circus.sockets.web)", "completion bash",
	} {
		if !strings.Contains(help, want) {
			t.Errorf("help says nothing of %q", want)
		}
	}
	lines := strings.Split(help, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "  --") && !strings.Contains(lines[i+1], "[CHAUSSETTE_") {
			t.Errorf("no variable is named for %q", line)
		}
	}
}

// A page of the documentation names each option.
func TestOptionsAreDocumented(t *testing.T) {
	_, help, err := run(t, "--help")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var docs strings.Builder
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		docs.Write(text)
	}
	options := regexp.MustCompile(`(?m)^  --[a-z0-9-]+`).FindAllString(help, -1)
	if len(options) == 0 {
		t.Fatal("no options")
	}
	for _, option := range options {
		option = strings.TrimSpace(option)
		if !regexp.MustCompile(option + `\b[^-]`).MatchString(docs.String()) {
			t.Errorf("no page in docs names %s", option)
		}
	}
}

func TestVersionAndCompletion(t *testing.T) {
	if _, version, err := run(t, "--version"); err != nil || !regexp.MustCompile(`^chaussette \d+\.\d+\.\d+\S* \(go`).MatchString(version) {
		t.Errorf("--version: %q, %v", version, err)
	}
	var out bytes.Buffer
	cmd := server.Command(app.Open, nil)
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"__complete", "--backend", "w"})
	if err := cmd.Execute(); err != nil || !strings.Contains(out.String(), "waitress") {
		t.Errorf("completion of a backend: %q, %v", out.String(), err)
	}
}

func TestManual(t *testing.T) {
	manual := server.Manual(time.Unix(0, 0))
	for _, want := range []string{"# NAME", "# SIGNALS", "# EXIT STATUS", "**--max-header-size**", "**waitress**"} {
		if !strings.Contains(manual, want) {
			t.Errorf("the manual lacks %q", want)
		}
	}
}

// A process that outlives its parent learns of its end.
func TestWatchParent(t *testing.T) {
	if pipe := os.Getenv("TEST_WATCH_PARENT"); pipe != "" {
		ended, err := server.WatchParent(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		_ = os.WriteFile(pipe, []byte("watching\n"), 0)
		<-ended
		_ = os.WriteFile(pipe, []byte("ended\n"), 0)
		return
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if out, err := exec.Command("mkfifo", pipe).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// The shell starts the watcher in the background, and waits to be killed.
	parent := exec.Command("sh", "-c", `"$0" -test.run=TestWatchParent & read forever`, os.Args[0])
	parent.Env = append(os.Environ(), "TEST_WATCH_PARENT="+pipe)
	stdin, err := parent.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(pipe); err != nil || string(got) != "watching\n" {
		t.Fatalf("%q, %v", got, err)
	}
	_ = parent.Process.Kill()
	_ = parent.Wait()
	if got, err := os.ReadFile(pipe); err != nil || string(got) != "ended\n" {
		t.Errorf("%q, %v", got, err)
	}
	// And one whose context ends first stops watching.
	ctx, cancel := context.WithCancel(context.Background())
	ended, err := server.WatchParent(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-ended:
		t.Error("our parent is said to have ended")
	default:
	}
}
