package golang_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// chaussette is the command, built once; checkout is this module.
var chaussette, checkout string

// patience bounds what may take long on a busy machine, so that a test fails instead of
// hanging.
const patience = 3 * time.Minute

func TestMain(m *testing.M) {
	_, file, _, _ := runtime.Caller(0)
	checkout = filepath.Dir(filepath.Dir(filepath.Dir(file)))
	folder, err := os.MkdirTemp("", "golang-test-")
	if err != nil {
		panic(err)
	}
	chaussette = filepath.Join(folder, "chaussette")
	if out, err := exec.Command("go", "build", "-o", chaussette, checkout).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s\n%v\n", out, err)
		os.Exit(1)
	}
	// One cache for all: apps differ by their folders.
	for name, value := range map[string]string{"CHAUSSETTE_CACHE": filepath.Join(folder, "cache"), "CHAUSSETTE_HOST": "127.0.0.1",
		"CHAUSSETTE_PORT": "0", "GOPROXY": "off", "GOFLAGS": os.Getenv("GOFLAGS") + " -ldflags=-s"} /* the linker takes half the time */ {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	_ = os.RemoveAll(folder)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// files makes a folder of files; each text may name the checkout as CHECKOUT.
func files(t testing.TB, texts map[string]string) (folder string) {
	t.Helper()
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range texts {
		write(t, filepath.Join(folder, name), text)
	}
	return folder
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "CHECKOUT", checkout)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// hello is a package that answers with a text and its process's id.
func hello(pkg, text string) string {
	return `package ` + pkg + `

import (
	"fmt"
	"net/http"
	"os"
)

// App answers.
var App http.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, ` + fmt.Sprintf("%q", text) + `, " ", os.Getpid())
})
`
}

// started is a chaussette that runs.
type started struct {
	t      testing.TB
	cmd    *exec.Cmd
	log    *log
	ended  chan struct{}
	err    error
	client http.Client
}

// start runs chaussette in the folder.
func start(t testing.TB, folder string, args ...string) *started {
	return startCmd(t, command(folder, args...))
}

func command(folder string, args ...string) *exec.Cmd {
	cmd := exec.Command(chaussette, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "PWD="+folder)
	return cmd
}

func startCmd(t testing.TB, cmd *exec.Cmd) *started {
	t.Helper()
	s := &started{t: t, cmd: cmd, log: &log{changed: make(chan struct{}, 1)}, ended: make(chan struct{})}
	s.client = http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	out, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.ended)
		s.log.read(out)
		s.err = s.cmd.Wait()
	}()
	t.Cleanup(func() {
		select {
		case <-s.ended:
		default:
			// The group: a supervisor that hangs must not leave its child behind.
			_ = s.cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-s.ended:
			case <-time.After(20 * time.Second):
				_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
				<-s.ended
			}
		}
		if t.Failed() {
			t.Logf("%v logged:\n%s", s.cmd.Args, s.log)
		}
	})
	return s
}

// get asks for a path where the log says that it is served.
func (s *started) get(path string) string {
	s.t.Helper()
	address := s.log.wait(s.t, `Serving on (127\S+)`, s.ended)[1]
	r, err := s.client.Get("http://" + address + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(body)
}

// stop ends it by a signal and returns the exit status.
func (s *started) stop(sig syscall.Signal) int {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	return s.wait()
}

func (s *started) wait() int {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatalf("%v does not end", s.cmd.Args)
	}
	return s.cmd.ProcessState.ExitCode()
}

// log is what a process has written, line by line.
type log struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func (l *log) read(r io.Reader) {
	for lines := bufio.NewReader(r); ; {
		line, err := lines.ReadString('\n')
		l.mu.Lock()
		l.text.WriteString(line)
		l.mu.Unlock()
		select {
		case l.changed <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// wait waits for a match of pattern, and returns its groups.
func (l *log) wait(t testing.TB, pattern string, ended <-chan struct{}) []string {
	t.Helper()
	expression := regexp.MustCompile(pattern)
	for end, last := time.After(patience), false; ; {
		if m := expression.FindStringSubmatch(l.String()); m != nil {
			return m
		}
		if last {
			t.Fatalf("it ended, and no %q in the log:\n%s", pattern, l)
		}
		select {
		case <-l.changed:
		case <-ended:
			last = true
		case <-end:
			t.Fatalf("no %q in the log:\n%s", pattern, l)
		}
	}
}

// count is how often pattern is in the log.
func (l *log) count(pattern string) int {
	return len(regexp.MustCompile(pattern).FindAllString(l.String(), -1))
}
