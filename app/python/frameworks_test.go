package python_test

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/app/python"
)

const frameworks = "testdata/frameworks"

// numbers is what every /stream sends.
var numbers = func() string {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "%d\n", i)
	}
	return b.String()
}()

// upload posts a form with a file of size bytes.
func (s *served) upload(path string, size int) (int, string) {
	s.t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, _ := w.CreateFormFile("file", "name")
	_, _ = part.Write(make([]byte, size))
	w.Close()
	req, _ := http.NewRequest("POST", s.url+path, &form)
	req.Header.Set("Content-Type", w.FormDataContentType())
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// TestFrameworks serves what people have, as Debian packages it, in every mode.
func TestFrameworks(t *testing.T) {
	database := filepath.Join(t.TempDir(), "db.sqlite3")
	t.Setenv("DJANGOSITE_DATABASE", database)
	manage(t, "migrate", "-v", "0")
	for name, test := range map[string]func(*testing.T, *served){
		"flaskapp:app": func(t *testing.T, s *served) {
			s.want("/", 200, "flask")
			s.want("/name/caf%C3%A9", 200, "hello caf\u00e9")
			s.want("/count", 200, "1")
			s.want("/count", 200, "2")
			if status, _, _ := s.get("/fail"); status != 500 {
				t.Errorf("/fail: %d", status)
			}
		},
		"bottleapp:app": func(t *testing.T, s *served) {
			s.want("/", 200, "bottle")
			s.wantFile("/static", "bottleapp.py")
		},
		"pyramidapp:main()": func(t *testing.T, s *served) {
			s.want("/", 200, "pyramid")
			s.wantFile("/static", "pyramidapp.py")
		},
		"paste:" + frameworks + "/paste.ini#pyramid": func(t *testing.T, s *served) { s.want("/", 200, "pyramid") },
		"djangosite.wsgi.application": func(t *testing.T, s *served) {
			s.want("/", 200, "django")
			s.want("/count", 200, "1")
			s.want("/count", 200, "2")
			s.wantFile("/static", "djangosite/urls.py")
		},
	} {
		for _, mode := range modes {
			t.Run(name+"/"+mode.String(), func(t *testing.T) {
				s := serve(t, name, python.Options{Mode: mode, PythonPath: []string{frameworks}})
				s.client.Jar, _ = cookiejar.New(nil)
				test(t, s)
				s.want("/stream", 200, numbers)
				for _, size := range []int{10, 3_000_000} {
					if status, body := s.upload("/upload", size); status != 200 || body != fmt.Sprint(size) {
						t.Errorf("upload of %d: %d %.200q", size, status, body)
					}
				}
			})
		}
	}
}

func (s *served) wantFile(path, name string) {
	s.t.Helper()
	want, err := os.ReadFile(filepath.Join(frameworks, name))
	if err != nil {
		s.t.Fatal(err)
	}
	s.want(path, 200, string(want))
}

// manage runs a command of the Django project.
func manage(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command(interpreter, append([]string{"-m", "django"}, args...)...)
	cmd.Env = append(os.Environ(), "DJANGO_SETTINGS_MODULE=djangosite.settings", "PYTHONPATH="+frameworks, "DJANGO_SUPERUSER_PASSWORD=secret")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("django %v: %v\n%s", args, err, out)
	}
}

func TestDjangoAdmin(t *testing.T) {
	t.Setenv("DJANGOSITE_DATABASE", filepath.Join(t.TempDir(), "db.sqlite3"))
	manage(t, "migrate", "-v", "0")
	manage(t, "createsuperuser", "--noinput", "--username", "admin", "--email", "a@example.com")
	s := serve(t, "djangosite.wsgi.application", python.Options{Mode: python.Threads, PythonPath: []string{frameworks}})
	s.client.Jar, _ = cookiejar.New(nil)
	_, page, _ := s.get("/admin/login/?next=/admin/")
	token := regexp.MustCompile(`name="csrfmiddlewaretoken" value="([^"]+)"`).FindStringSubmatch(page)
	if token == nil {
		t.Fatalf("no form: %.500s", page)
	}
	form := url.Values{"csrfmiddlewaretoken": {token[1]}, "username": {"admin"}, "password": {"secret"}, "next": {"/admin/"}}
	resp, err := s.client.PostForm(s.url+"/admin/login/?next=/admin/", form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if page, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || !strings.Contains(string(page), "Site administration") {
		t.Errorf("login: %d %.300s", resp.StatusCode, page)
	}
	// 50 MB, which Django writes to a file as it comes.
	if status, body := s.upload("/upload", 50_000_000); status != 200 || body != "50000000" {
		t.Errorf("upload: %d %.200q", status, body)
	}
}

func TestPaste(t *testing.T) {
	for section, want := range map[string]string{"": "from the defaults", "#main": "from the defaults", "#other": "the other", "#filtered": "the other?!"} {
		s := serve(t, "paste:"+frameworks+"/paste.ini"+section, python.Options{PythonPath: []string{frameworks}})
		s.want("/path", 200, want)
		eventually(t, func() bool { return strings.Contains(s.log.String(), "PASTED WARNING asked for /path") })
	}
}

// [loggers] is applied by fileConfig, with here and __file__, and leaves alone who is there.
func TestPasteLoggers(t *testing.T) {
	folder := t.TempDir()
	config := filepath.Join(folder, "app.ini")
	if err := os.WriteFile(config, []byte(`[app:main]
paste.app_factory = pasteapp:loggers_factory

[loggers]
keys = root, named

[handlers]
keys = file

[formatters]
keys = plain

[logger_root]
level = WARNING
handlers = file

[logger_named]
level = DEBUG
handlers =
qualname = named

[handler_file]
class = FileHandler
args = ('%(here)s/app.log', 'a')
formatter = plain

[formatter_plain]
format = %(levelname)s %(name)s %(message)s
`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "paste:"+config, python.Options{Mode: python.Tornado, PythonPath: []string{frameworks}})
	s.want("/", 200, "DEBUG WARNING asyncio:False tornado.application:False")
	logged, err := os.ReadFile(filepath.Join(folder, "app.log"))
	if err != nil || !strings.Contains(string(logged), "DEBUG named of named") || !strings.Contains(string(logged), "ERROR tornado.application of tornado") {
		t.Errorf("the log has %q, %v", logged, err)
	}
}

func TestTornadoApplication(t *testing.T) {
	s := serve(t, "tornadoapp:app", python.Options{Mode: python.Tornado, PythonPath: []string{frameworks}})
	s.want("/?q=caf%C3%A9", 200, "tornado caf\u00e9")
	s.want("/stream", 200, numbers)
	if status, _, _ := s.get("/fail"); status != 500 {
		t.Errorf("/fail: %d", status)
	}
	if status, _, _ := s.get("/none"); status != 404 {
		t.Errorf("/none: %d", status)
	}
	for _, size := range []int{10, 3_000_000} {
		if status, body := s.upload("/upload", size); status != 200 || body != fmt.Sprint(size) {
			t.Errorf("upload of %d: %d %.200q", size, status, body)
		}
	}
}
