package webtest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/webtest"
)

const frameworks = "../app/python/testdata/frameworks"

// interpreter is Debian's, which has the packages.
const interpreter = "/usr/bin/python3"

// pythonBackends are all names of backends, each with what a Python app meets there.
var pythonBackends = []struct {
	name     string
	buffered bool // the app has returned before its client gets anything
	serial   bool // one request at a time
	alias    bool // of the one before
}{
	{name: "http", serial: true},
	{name: "wsgiref", serial: true, alias: true},
	{name: "waitress", buffered: true},
	{name: "gevent"},
	{name: "eventlet"},
	{name: "tornado", buffered: true, serial: true},
	{name: "fastgevent", buffered: true},
	{name: "meinheld"},
	{name: "bjoern", serial: true},
	{name: "websocket"},
	{name: "geventwebsocket", alias: true},
	{name: "ws4py"},
	{name: "geventws4py", alias: true},
	{name: "socketio"},
}

// What people have runs on every backend. One worker serves them all, from a Paste file:
// to start one takes the most time.
func TestFrameworksOnEachBackend(t *testing.T) {
	database := "DJANGOSITE_DATABASE=" + filepath.Join(t.TempDir(), "db.sqlite3")
	migrate := exec.Command(interpreter, "-m", "django", "migrate", "-v", "0")
	migrate.Env = append(os.Environ(), database, "DJANGO_SETTINGS_MODULE=djangosite.settings", "PYTHONPATH="+frameworks)
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
	for _, backend := range pythonBackends {
		t.Run(backend.name, func(t *testing.T) {
			t.Parallel()
			pool := webtest.StartProgram(t, webtest.Circus, 1, webtest.Build(t, webtest.Chaussette), []string{database},
				"--backend", backend.name, "--python", interpreter, "--python-path", frameworks, "paste:"+frameworks+"/all.ini")
			site := &site{t: t, client: pool.Client(true)}
			site.client.Jar, _ = cookiejar.New(nil)
			for _, framework := range []struct {
				name, file string // file is what it sends as static
				sessions   bool
			}{
				{name: "flask", sessions: true},
				{name: "bottle", file: "bottleapp.py"},
				{name: "pyramid", file: "pyramidapp.py"},
				{name: "django", file: "djangosite/urls.py", sessions: true},
			} {
				at := "/" + framework.name
				site.want(at+"/", framework.name)
				site.want(at+"/stream", numbers())
				for _, size := range []int{10, 300_000} {
					site.wantUpload(at+"/upload", size)
				}
				if framework.file != "" {
					file, err := os.ReadFile(filepath.Join(frameworks, framework.file))
					if err != nil {
						t.Fatal(err)
					}
					site.want(at+"/static", string(file))
				}
				if framework.sessions {
					site.want(at+"/count", "1")
					site.want(at+"/count", "2")
				}
			}
			site.want("/paste/any", "paste")
			if log := pool.Workers[0].Log(); strings.Contains(log, "the app failed") {
				t.Error("an app has failed")
			}
		})
	}
}

// numbers is what every /stream sends.
func numbers() string {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintln(&b, i)
	}
	return b.String()
}

// site is what a client of a pool sees.
type site struct {
	t      *testing.T
	client *http.Client
}

func (s *site) want(path, body string) {
	s.t.Helper()
	s.wantResponse(path, body, func() (*http.Response, error) { return s.client.Get("http://site" + path) })
}

func (s *site) wantResponse(path, body string, do func() (*http.Response, error)) {
	s.t.Helper()
	r, err := do()
	if err != nil {
		s.t.Error(err)
		return
	}
	defer r.Body.Close()
	if got, err := io.ReadAll(r.Body); err != nil || r.StatusCode != http.StatusOK || string(got) != body {
		s.t.Errorf("%s: %d %.200q, %v; want %.200q", path, r.StatusCode, got, err, body)
	}
}

// wantUpload posts a form with a file, of which the app answers how large it is.
func (s *site) wantUpload(path string, size int) {
	s.t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, _ := w.CreateFormFile("file", "name")
	_, _ = part.Write(make([]byte, size))
	_ = w.Close()
	s.wantResponse(path, strconv.Itoa(size), func() (*http.Response, error) {
		return s.client.Post("http://site"+path, w.FormDataContentType(), &form)
	})
}

// What a proxy leaves of the path that it serves the app at, and where the app is told it is.
func TestScriptName(t *testing.T) {
	pool := webtest.Start(t, webtest.Alone, 1, "--backend", "bjoern", "--script-name", "/shop/", "--python", interpreter, "--python-path", "testdata", "mounted:app")
	client := pool.Client(true)
	for path, want := range map[string]string{"/shop/cart": "/shop /cart", "/shop": "/shop ", "/cart": "/shop /cart", "/shopping": "/shop /shopping"} {
		r, err := client.Get("http://site" + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if string(body) != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", path, body, err, want)
		}
	}
}

// Clients read a byte a second of 64 MiB that the app makes. Nobody has these bytes in
// memory meanwhile; where responses are buffered the app is done with them at once, and
// elsewhere it waits, and hears of the client's end.
func TestClientThatReadsAByteASecond(t *testing.T) {
	const chunks, room = 1024, 32 << 20
	for _, backend := range pythonBackends {
		if backend.alias {
			continue
		}
		t.Run(backend.name, func(t *testing.T) {
			t.Parallel()
			pool := webtest.Start(t, webtest.Alone, 1, "--backend", backend.name, "--python", interpreter, "--python-path", "testdata", "large:app")
			app := &largeApp{t: t, client: pool.Client(true)}
			child := app.ask().PID
			memory := func() int { return resident(t, pool.Workers[0].PID) + resident(t, child) }
			before := memory()
			paths := []string{"/length", "/chunks"}
			if backend.serial && !backend.buffered {
				paths = paths[:1] // the second would wait for the first
			}
			var clients []net.Conn
			for _, path := range paths {
				c := pool.Dial()
				_ = c.(*net.TCPConn).SetReadBuffer(4096)
				if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: site\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				clients = append(clients, c)
			}
			for i := range 2 {
				if i > 0 {
					time.Sleep(time.Second) // the clients' pace
				}
				for _, c := range clients {
					if n, err := c.Read(make([]byte, 1)); n != 1 {
						t.Fatal(err)
					}
				}
				if more := memory() - before; more > room {
					t.Errorf("%d MiB more in memory", more>>20)
				}
			}
			for _, path := range paths {
				switch {
				case backend.buffered:
					app.await(path, "whole")
				case backend.serial: // it cannot answer
				default:
					if s := app.ask().States[path]; s.Made == 0 || s.Made >= chunks || s.End != "" {
						t.Errorf("%s is at %+v, in place of its middle", path, s)
					}
				}
			}
			for _, c := range clients {
				_ = c.Close()
			}
			if !backend.buffered {
				for _, path := range paths {
					app.await(path, "closed")
				}
			}
		})
	}
}

// largeApp is testdata/large.py.
type largeApp struct {
	t      *testing.T
	client *http.Client
}

type largeState struct {
	PID    int
	States map[string]struct {
		Made int
		End  string
	}
}

func (a *largeApp) ask() (s largeState) {
	a.t.Helper()
	r, err := a.client.Get("http://site/")
	if err != nil {
		a.t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		a.t.Fatal(err)
	}
	return s
}

// await waits until what is sent for path has come to its end.
func (a *largeApp) await(path, want string) {
	a.t.Helper()
	for end := time.Now().Add(webtest.Patience); ; time.Sleep(20 * time.Millisecond) {
		s := a.ask().States[path]
		if s.End == want {
			return
		}
		if s.End != "" || time.Now().After(end) {
			a.t.Fatalf("%s is at %+v, want it %s", path, s, want)
		}
	}
}

// resident is the memory of a process, in bytes.
func resident(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, _ := strconv.Atoi(strings.Fields(string(data))[1])
	return pages * os.Getpagesize()
}
