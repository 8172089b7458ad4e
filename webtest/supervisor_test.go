package webtest_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chaussette/chaussette/internal/logtest"
	"github.com/chaussette/chaussette/webtest"
)

// supervisor is Debian's supervisord with one fcgi-program of three workers.
type supervisor struct {
	t      *testing.T
	folder string
	cmd    *exec.Cmd
	pool   *webtest.Pool // where they serve; it has started none of them
}

func startSupervisor(t *testing.T, network string) *supervisor {
	t.Helper()
	return superviseProgram(t, network, 3, webtest.Build(t, webtest.Chaussette)+" --fd 0 --access-log -")
}

// superviseProgram has supervisord run n processes of a command, on descriptor 0.
func superviseProgram(t *testing.T, network string, n int, command string) *supervisor {
	t.Helper()
	if _, err := exec.LookPath("supervisord"); err != nil {
		t.Fatalf("%v: make setup installs it", err)
	}
	folder, err := os.MkdirTemp("", "webtest-") // a short path: there are sockets in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	s := &supervisor{t: t, folder: folder}
	socket := "unix://" + filepath.Join(folder, "web.sock")
	address := filepath.Join(folder, "web.sock")
	if network == "tcp" {
		address = freePort(t)
		socket = "tcp://" + address
	}
	s.pool = webtest.At(t, network, address)
	config := fmt.Sprintf(`
[supervisord]
nodaemon = true
user = %[4]s
logfile = %[1]s/supervisord.log
pidfile = %[1]s/supervisord.pid
childlogdir = %[1]s

[unix_http_server]
file = %[1]s/control.sock

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl = unix://%[1]s/control.sock

[fcgi-program:web]
command = %[2]s
socket = %[3]s
process_name = %%(program_name)s_%%(process_num)d
numprocs = %[5]d
stopwaitsecs = 15
environment = GORACE="atexit_sleep_ms=0"
`, folder, command, socket, currentUser(), n)
	if err := os.WriteFile(filepath.Join(folder, "conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command("supervisord", "-c", filepath.Join(folder, "conf"))
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // it stops its workers first
		_ = s.cmd.Wait()
		if t.Failed() {
			t.Log(regexp.MustCompile(`.* request remote=.*\n`).ReplaceAllString(s.logs(), "")) // there are many
		}
	})
	s.eventually("the workers run", func() bool { return strings.Count(s.ctl("status"), "RUNNING") == n })
	return s
}

// freePort is an address that is free now. Supervisor and systemd bind it themselves, so it
// is none that the kernel takes for an outgoing connection meanwhile (from 32768 on,
// unless it was told otherwise).
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

func currentUser() string {
	if os.Getuid() == 0 {
		return "root"
	}
	return os.Getenv("USER")
}

// eventually asks again and again: supervisord tells nobody when it has done something.
func (s *supervisor) eventually(what string, done func() bool) {
	s.t.Helper()
	for end := time.Now().Add(webtest.Patience); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("not so: %s", what)
		}
	}
}

// ctl runs supervisorctl, whose exit status says what its output says better.
func (s *supervisor) ctl(args ...string) string {
	out, _ := exec.Command("supervisorctl", append([]string{"-c", filepath.Join(s.folder, "conf")}, args...)...).CombinedOutput()
	return string(out)
}

// logs are everything that was logged, the workers' as well.
func (s *supervisor) logs() string {
	var b strings.Builder
	files, _ := filepath.Glob(filepath.Join(s.folder, "*log*"))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		fmt.Fprintf(&b, "%s:\n%s\n", filepath.Base(f), text)
	}
	return b.String()
}

// served are the workers, by pid, that have answered something.
func (s *supervisor) served() map[string]bool {
	pids := map[string]bool{}
	for _, m := range regexp.MustCompile(`\[(\d+)\] \[INFO\] request .*status=200`).FindAllStringSubmatch(s.logs(), -1) {
		pids[m[1]] = true
	}
	return pids
}

func TestRealSupervisor(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			s := startSupervisor(t, network)
			s.eventually("every worker has answered", func() bool {
				s.pool.Get("/")
				return len(s.served()) == 3
			})
			load := startLoad(t, s.pool, 8, 4)
			for i := range 3 {
				if out := s.ctl("restart", fmt.Sprintf("web:web_%d", i)); !strings.Contains(out, "started") {
					t.Errorf("supervisorctl restart: %s", out)
				}
			}
			s.eventually("every new worker has answered", func() bool { return len(s.served()) == 6 })
			if n := load.stop(); n == 0 {
				t.Error("nothing was asked meanwhile")
			}
			// Each ended as told: status 0, and no SIGKILL.
			log, err := os.ReadFile(filepath.Join(s.folder, "supervisord.log"))
			if err != nil || strings.Count(string(log), "exit status 0") != 3 || strings.Contains(string(log), "SIGKILL") {
				t.Errorf("supervisord saw another end:\n%s", log)
			}
			// SIGHUP: the same processes, executed anew.
			before := s.ctl("pid", "web:web_0", "web:web_1", "web:web_2")
			s.ctl("signal", "HUP", "web:*")
			s.eventually("each has begun anew", func() bool { return strings.Count(s.logs(), "as a backend") == 9 })
			if after := s.ctl("pid", "web:web_0", "web:web_1", "web:web_2"); after != before {
				t.Errorf("the pids were %q and are %q", before, after)
			}
			s.pool.Get("/")
		})
	}
}

// Chaussette 1 ended with status 0 where its command line was wrong, and Supervisor took
// it for a program that had done its work.
func TestSupervisorSeesAWrongCommandLine(t *testing.T) {
	s := startSupervisor(t, "tcp")
	conf := filepath.Join(s.folder, "conf")
	b, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(b), "--fd 0", "--backend wsgi-reff --fd 0", 1) + "startretries = 0\n"
	if err := os.WriteFile(conf, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	s.ctl("update")
	s.eventually("Supervisor gave up", func() bool { return strings.Count(s.ctl("status"), "FATAL") == 3 })
	if !strings.Contains(s.logs(), "did you mean wsgiref?") || !strings.Contains(s.logs(), "exit status 2; not expected") {
		t.Error("the logs do not say why")
	}
}

func TestRealSystemdSocketActivate(t *testing.T) {
	address := freePort(t)
	cmd := exec.Command("systemd-socket-activate", "-l", address, "--fdname=web", webtest.Build(t, webtest.Chaussette), "--host", "systemd:web")
	log := &logtest.Buffer{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v:\n%s", err, log)
		}
	})
	pool := webtest.At(t, "tcp", address)
	// The first connection starts the worker; nobody listens before systemd does.
	client := pool.Client(false)
	for end := time.Now().Add(webtest.Patience); ; time.Sleep(20 * time.Millisecond) {
		r, err := client.Get("http://pool/")
		if err != nil && time.Now().Before(end) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if r.StatusCode != http.StatusOK || string(body) != "hello world" {
			t.Errorf("%s %q", r.Status, body)
		}
		break
	}
	load := startLoad(t, pool, 4, 2)
	_ = cmd.Process.Signal(syscall.SIGHUP) // on the same socket
	// Until it has begun anew: before, a signal to stop would find nobody who takes it.
	for end := time.Now().Add(webtest.Patience); strings.Count(log.String(), "as a backend") < 2; {
		if time.Now().After(end) {
			t.Fatalf("it has not begun anew:\n%s", log)
		}
		pool.Get("/")
	}
	if n := load.stop(); n == 0 {
		t.Error("nothing was asked meanwhile")
	}
}
