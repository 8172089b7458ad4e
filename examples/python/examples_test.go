// Package examples_test runs the Python examples as their own comments say.
package examples_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var chaussette string

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "examples")
	if err == nil {
		chaussette = filepath.Join(folder, "chaussette")
		var out []byte
		if out, err = exec.Command("go", "build", "-o", chaussette, "../..").CombinedOutput(); err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(folder)
	os.Exit(status)
}

// serve runs chaussette until the test ends, and returns its address, and its log then.
func serve(t *testing.T, args ...string) (address string, stop func() string) {
	t.Helper()
	// Debian's interpreter has the packages.
	cmd := exec.Command(chaussette, append([]string{"--python", "/usr/bin/python3", "--host", "127.0.0.1", "--port", "0"}, args...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	log := bufio.NewReader(io.TeeReader(stderr, &all))
	for address == "" {
		line, err := log.ReadString('\n')
		if err != nil {
			t.Fatalf("no address in the log:\n%s", all.String())
		}
		if m := regexp.MustCompile(`Serving on (\S+)`).FindStringSubmatch(line); m != nil {
			address = "http://" + m[1]
		}
	}
	stopped := false
	stop = func() string {
		if !stopped {
			stopped = true
			http.DefaultClient.CloseIdleConnections()
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_, _ = io.Copy(io.Discard, log)
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v after SIGTERM:\n%s", err, all.String())
			}
		}
		return all.String()
	}
	t.Cleanup(func() { stop() })
	return address, stop
}

func get(t *testing.T, address string) (string, http.Header) {
	t.Helper()
	r, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != 200 {
		t.Errorf("%s: %d, %v", address, r.StatusCode, err)
	}
	return string(body), r.Header
}

func TestGuestbook(t *testing.T) {
	for _, backend := range []string{"http", "waitress", "gevent", "eventlet", "tornado", "fastgevent", "meinheld", "bjoern"} {
		t.Run(backend, func(t *testing.T) {
			address, stop := serve(t, "--backend", backend, "--pre-hook", "hooks.begin", "--post-hook", "hooks.end", "guestbook:app")
			r, err := http.PostForm(address, url.Values{"entry": {"was here & there"}})
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(r.Body)
			r.Body.Close()
			if !strings.Contains(string(body), "<li>was here &amp; there</li>") {
				t.Errorf("page: %s", body)
			}
			log := stop()
			if !strings.Contains(log, "about to serve guestbook:app by "+backend) || !strings.Contains(log, "served guestbook:app") {
				t.Errorf("the hooks are not in the log:\n%s", log)
			}
		})
	}
}

func TestFlask(t *testing.T) {
	address, _ := serve(t, "--backend", "gevent", "flaskapp.app")
	if body, _ := get(t, address); body != "Hello World!" {
		t.Errorf("got %q", body)
	}
}

func TestPaste(t *testing.T) {
	address, _ := serve(t, "--python-path", "paste", "paste:paste/site.ini#main")
	if body, header := get(t, address); body != "Hello from a Paste file" || header.Get("X-Took") == "" {
		t.Errorf("got %q, %v", body, header)
	}
}

func TestDjango(t *testing.T) {
	address, _ := serve(t, "--backend", "gevent", "mysite.wsgi.application")
	if body, _ := get(t, address); body != "Hello from Django, 127.0.0.1" {
		t.Errorf("got %q", body)
	}
	begin := time.Now()
	r, err := http.Get(address + "/clock")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	line, err := bufio.NewReader(r.Body).ReadString('\n')
	if !strings.HasPrefix(line, "data: ") || err != nil {
		t.Errorf("first event after %v: %q, %v", time.Since(begin), line, err)
	}
}

// Three workers of one program under the real Supervisor, on a socket that it has opened.
func TestSupervisor(t *testing.T) {
	folder := t.TempDir()
	here, _ := os.Getwd()
	socket := filepath.Join(folder, "web.sock")
	config := fmt.Sprintf(`[supervisord]
logfile = %[1]s/supervisord.log
pidfile = %[1]s/supervisord.pid
nodaemon = true

[fcgi-program:web]
command = %[2]s --python /usr/bin/python3 --fd 0 --backend waitress guestbook:app
directory = %[3]s
socket = unix://%[4]s
process_name = %%(program_name)s_%%(process_num)d
numprocs = 3
redirect_stderr = true
stdout_logfile = %[1]s/web.log
`, folder, chaussette, here, socket)
	path := filepath.Join(folder, "supervisord.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	supervisor := exec.Command("/usr/bin/supervisord", "-c", path)
	if err := supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = supervisor.Process.Signal(syscall.SIGTERM)
		_ = supervisor.Wait()
	}()
	client := &http.Client{Transport: unixTransport(socket)}
	defer client.CloseIdleConnections()
	deadline := time.Now().Add(30 * time.Second)
	for served := 0; served < 50; {
		r, err := client.Get("http://web/")
		if err != nil {
			if time.Now().After(deadline) {
				log, _ := os.ReadFile(filepath.Join(folder, "web.log"))
				t.Fatalf("%v\n%s", err, log)
			}
			time.Sleep(50 * time.Millisecond)
			continue
		}
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
		if r.StatusCode != 200 {
			t.Fatalf("status %d", r.StatusCode)
		}
		served++
	}
}
