package golang_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/app/golang"
)

const bareMod = "module example.com/it\n\ngo 1.26\n"

// A manager that passes a socket and nothing else, as Circus does: the process that it has
// started is the one that serves, by the same number, on the same descriptor. A second
// start asks no compiler.
func TestSameProcess(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"go.mod": bareMod, "it.go": hello("it", "by")})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	pad, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer pad.Close()
	for _, first := range []bool{true, false} {
		cmd := command(folder, "--fd", "4", "./.App", "an-argument")
		cmd.Env = []string{} // no PATH, no HOME
		cmd.Env = append(cmd.Env, "CHAUSSETTE_CACHE="+os.Getenv("CHAUSSETTE_CACHE"), "GOPROXY=off")
		cmd.ExtraFiles = []*os.File{pad, socket}
		s := startCmd(t, cmd)
		s.log.wait(t, "as a backend", s.ended)
		r, err := s.client.Get("http://" + l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		_ = r.Body.Close()
		if want := "by " + strconv.Itoa(cmd.Process.Pid); body.String() != want {
			t.Errorf("it answers %q, not %q", &body, want)
		}
		arguments, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid))
		if err == nil && string(arguments) != strings.Join(cmd.Args, "\x00")+"\x00" {
			t.Errorf("its arguments are %q", arguments)
		}
		if built := s.log.count("Built ") > 0; built != first {
			t.Errorf("built: %v, in the first start: %v", built, first)
		}
		if status := s.stop(syscall.SIGTERM); status != 0 {
			t.Errorf("exit status %d", status)
		}
	}
}

// Workers that start at once build once, and those that start later ask nobody: the go
// command, through which all asking goes here, counts.
func TestOnce(t *testing.T) {
	t.Parallel()
	gocmd, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	folder := files(t, map[string]string{"go.mod": bareMod, "it.go": hello("it", "once")})
	tools := files(t, map[string]string{"go": "#!/bin/sh\necho \"$1\" >> \"${0%/*}/calls\"\nexec " + gocmd + " \"$@\"\n"})
	if err := os.Chmod(tools+"/go", 0o755); err != nil {
		t.Fatal(err)
	}
	calls := func(what string) int {
		text, err := os.ReadFile(tools + "/calls")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), what+"\n")
	}
	begin := func(path string) *started {
		cmd := command(folder, "./.App")
		cmd.Env = append(cmd.Env, "PATH="+path)
		return startCmd(t, cmd)
	}
	path := tools + ":" + os.Getenv("PATH")
	one, two := begin(path), begin(path)
	for _, s := range []*started{one, two} {
		if got := s.get("/"); !strings.HasPrefix(got, "once") {
			t.Errorf("it answers %q", got)
		}
		s.stop(syscall.SIGTERM)
	}
	if n := calls("build"); n != 1 {
		t.Errorf("built %d times", n)
	}
	if err := os.Remove(tools + "/calls"); err != nil {
		t.Fatal(err)
	}
	third := begin(path)
	third.get("/")
	third.stop(syscall.SIGTERM)
	if _, err := os.Stat(tools + "/calls"); err == nil {
		t.Error("the go command is asked at a start with nothing changed")
	}
	// What was made needs no go command at all.
	fourth := begin("/nowhere")
	fourth.get("/")
	fourth.stop(syscall.SIGTERM)

	// Touched, and the same: it is not built again. Another: it is.
	now := time.Now()
	if err := os.Chtimes(folder+"/it.go", now, now); err != nil {
		t.Fatal(err)
	}
	fifth := begin(path)
	fifth.get("/")
	fifth.stop(syscall.SIGTERM)
	if _, err := os.Stat(tools + "/calls"); err == nil {
		t.Error("the go command is asked for a file with a new time and its old content")
	}
	write(t, folder+"/more.go", "package it\n\nfunc init() { more = 1 }\n\nvar more int\n")
	sixth := begin(path)
	sixth.get("/")
	sixth.stop(syscall.SIGTERM)
	if n := calls("build"); n != 1 {
		t.Errorf("built %d times for a new file", n)
	}
	// Back again: the first program is in the cache still.
	if err := os.Remove(folder + "/more.go"); err != nil {
		t.Fatal(err)
	}
	seventh := begin(path)
	seventh.get("/")
	seventh.stop(syscall.SIGTERM)
	if n := calls("build"); n != 1 {
		t.Errorf("built %d times for what was built before", n)
	}
}

// No go command: exit status 3, and what to do instead.
func TestNoGo(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"go.mod": bareMod, "it.go": hello("it", "x")})
	cmd := command(folder, "./.App")
	cmd.Env = append(cmd.Env, "PATH=/nowhere")
	s := startCmd(t, cmd)
	if status := s.wait(); status != 3 {
		t.Errorf("exit status %d", status)
	}
	s.log.wait(t, "no go command on PATH.*chaussette build", s.ended)
}

// What does not compile is told with file and line, relative to where the user stands.
func TestCompileError(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"go.mod": bareMod, "chat/it.go": "package chat\n\nvar App = missing\n", "here/x": ""})
	for where, want := range map[string]string{"": `chat/it\.go:3:11: undefined: missing`, "here": `\.\./chat/it\.go:3:11: undefined: missing`} {
		name := "./chat.App"
		if where != "" {
			name = "../chat.App"
		}
		s := start(t, filepath.Join(folder, where), name)
		if status := s.wait(); status != 3 {
			t.Errorf("exit status %d", status)
		}
		s.log.wait(t, `(?m)^\s*`+want, s.ended)
	}
}

// An app that fails to be made ends the worker with exit status 3.
func TestAppFails(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"go.mod": bareMod, "it.go": `package it

import (
	"errors"
	"net/http"
)

func App() (http.Handler, error) { return nil, errors.New("no database") }

var Nil http.Handler
`})
	for name, want := range map[string]string{"./.App": "no database", "./.Nil": "is nil"} {
		s := start(t, folder, name)
		if status := s.wait(); status != 3 {
			t.Errorf("%s: exit status %d", name, status)
		}
		s.log.wait(t, "example.com/it.*"+want, s.ended)
	}
}

// slowCompiler says in a file that it compiles, and takes its time; where there is a file
// named deaf it does not hear of SIGINT.
const slowCompiler = `#!/bin/sh
folder="${0%/*}"
[ ! -e "$folder/deaf" ] || trap '' INT
case "$*" in
*-V=full*) ;;
*) echo $$ > "$folder/compiling.new" && mv "$folder/compiling.new" "$folder/compiling"; sleep 600 & wait $! ;;
esac
exec "$@"
`

// A signal to stop during the build ends it, and nothing of it is left.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"go.mod": bareMod, "it.go": hello("it", fmt.Sprint(time.Now()))})
	cache := t.TempDir()
	slow := files(t, map[string]string{"slow": slowCompiler})
	if err := os.Chmod(slow+"/slow", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		_ = os.Remove(slow + "/compiling")
		cmd := command(folder, "./.App")
		cmd.Env = append(cmd.Env, "CHAUSSETTE_CACHE="+cache, "GOFLAGS=-toolexec="+slow+"/slow", "TMPDIR="+slow)
		s := startCmd(t, cmd)
		waitFor(t, "the compiler", func() bool { _, err := os.Stat(slow + "/compiling"); return err == nil })
		if status := s.stop(sig); status != 0 {
			t.Errorf("%v: exit status %d", sig, status)
		}
		for _, name := range []string{"work", "programs"} {
			if left, _ := os.ReadDir(filepath.Join(cache, name)); len(left) > 0 {
				t.Errorf("%v: left in %s: %v", sig, name, left)
			}
		}
		for _, pattern := range []string{"/go-*", "/chaussette-*"} {
			if left, _ := filepath.Glob(slow + pattern); len(left) > 0 {
				t.Errorf("%v: left of the compiler: %v", sig, left)
			}
		}
		if text, err := os.ReadFile(slow + "/compiling"); err == nil {
			pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
			waitFor(t, "the compiler's end", func() bool { return ended(pid) })
		}
		if err := os.WriteFile(slow+"/deaf", nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// ended reports whether a process that is not our child has ended. Whoever inherited it may
// not have waited for it yet.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
}

// waitFor polls for what another process does.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// A cache that cannot be written is told plainly, and what is in it is served.
func TestCacheTrouble(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"go.mod": bareMod, "it.go": hello("it", "x"), "file": ""})
	cmd := command(folder, "./.App")
	cmd.Env = append(cmd.Env, "CHAUSSETTE_CACHE="+folder+"/file")
	s := startCmd(t, cmd)
	if status := s.wait(); status != 3 {
		t.Errorf("exit status %d", status)
	}
	s.log.wait(t, "cannot be kept.*/file.*CHAUSSETTE_CACHE", s.ended)
	for err, want := range map[error]string{
		&os.PathError{Op: "write", Path: "/x", Err: unix.ENOSPC}: "the disk is full",
		&os.PathError{Op: "mkdir", Path: "/x", Err: unix.EROFS}:  "the cache cannot be written",
		&os.PathError{Op: "open", Path: "/x", Err: unix.EACCES}:  "the cache cannot be written",
	} {
		if got := golang.ExplainCache(err).Error(); !strings.Contains(got, want) || !strings.Contains(got, "/x") {
			t.Errorf("%v becomes %q", err, got)
		}
	}
}

// SIGHUP makes the program anew, where it can be made, and keeps process and socket.
func TestHangup(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"go.mod": bareMod, "it.go": hello("it", "one")})
	s := start(t, folder, "./.App")
	first := s.get("/")
	pid := s.cmd.Process.Pid
	if first != fmt.Sprint("one ", pid) {
		t.Errorf("it answers %q", first)
	}
	write(t, folder+"/it.go", "package it\n\nvar App = missing\n")
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.log.wait(t, `(?s)serves on.*it\.go:3:11: undefined: missing`, s.ended)
	if got := s.get("/"); got != first {
		t.Errorf("after a change that does not compile it answers %q", got)
	}
	write(t, folder+"/it.go", hello("it", "two"))
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.log.wait(t, `(?s)executing anew.*as a backend`, s.ended)
	// The port is the same, although it was any.
	if got, want := s.get("/"), fmt.Sprint("two ", pid); got != want {
		t.Errorf("after a change it answers %q, not %q", got, want)
	}
	if status := s.stop(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// With --use-reloader the process that was started holds the socket. A change is served by
// a new child when that is ready, and not at all if it does not compile or start.
func TestReloader(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"go.mod": bareMod, "it.go": hello("it", "one")})
	s := start(t, folder, "--use-reloader", "./.App")
	if got := s.get("/"); !strings.HasPrefix(got, "one ") {
		t.Errorf("it answers %q", got)
	}
	write(t, folder+"/it.go", "package it\n\nvar App = missing\n")
	s.log.wait(t, `(?s)the one before serves on.*it\.go:3:11: undefined: missing`, s.ended)
	if got := s.get("/"); !strings.HasPrefix(got, "one ") {
		t.Errorf("after a change that does not compile it answers %q", got)
	}
	write(t, folder+"/it.go", "package it\n\nimport \"net/http\"\n\nvar App http.Handler\n")
	s.log.wait(t, `does not start: the one before serves on`, s.ended)
	if got := s.get("/"); !strings.HasPrefix(got, "one ") {
		t.Errorf("after a change that does not start it answers %q", got)
	}
	write(t, folder+"/it.go", hello("it", "two"))
	s.log.wait(t, `(?s)does not start.*Drained`, s.ended) // until then the one before may answer as well
	if got := s.get("/"); !strings.HasPrefix(got, "two ") {
		t.Errorf("after a change it answers %q", got)
	}
	if status := s.stop(syscall.SIGINT); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if n := s.log.count("Started"); n != 3 {
		t.Errorf("%d children, of which two could serve", n)
	}
}

// A *Server of go-socket.io is served as it stands, and its Serve runs: without that, no
// client would be told that it is connected. (That library has data races of its own, so
// it runs in the app's process, which has no race detector.)
func TestGoSocketIO(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"go.mod": requiresAll(t), "go.sum": read(t, checkout+"/go.sum"), "it.go": `package it

import socketio "github.com/googollee/go-socket.io"

// App is what is served.
var App = func() *socketio.Server {
	s := socketio.NewServer(nil)
	s.OnConnect("/", func(socketio.Conn) error { return nil })
	return s
}()
`})
	s := start(t, folder, "./.App")
	session := regexp.MustCompile(`"sid":"([^"]+)"`).FindStringSubmatch(s.get("/socket.io/?EIO=3&transport=polling"))
	if session == nil {
		t.Fatal("no session")
	}
	// That library may answer before it knows the session itself.
	waitFor(t, "CONNECT, in the second poll", func() bool {
		return strings.Contains(s.get("/socket.io/?EIO=3&transport=polling&sid="+session[1]), "40")
	})
	if status := s.stop(syscall.SIGTERM); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
