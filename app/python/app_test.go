package python_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chaussette/chaussette/app/python"
	"github.com/chaussette/chaussette/internal/logtest"
)

func TestHello(t *testing.T) {
	each(t, "apps:hello", func(t *testing.T, s *served) {
		for range 3 {
			s.want("/", 200, "hello world\n")
		}
		// Many at once, so that batches form.
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				for range 50 {
					s.want("/", 200, "hello world\n")
				}
			})
		}
		all.Wait()
	})
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"apps:hello":                    "hello world\n",
		"apps.hello":                    "hello world\n",
		"apps:nested.inner.app":         "hello world\n",
		"apps:create()":                 "default 0",
		"apps:create('named', count=3)": "named 3",
		"apps.create()":                 "default 0",
		"package.module.app":            "in a package",
		"package.module":                "in a package",
		"single":                        "a module",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			serve(t, name, python.Options{}).want("/", 200, want)
		})
	}
}

func TestLoadErrors(t *testing.T) {
	for name, want := range map[string]struct {
		text    string
		missing bool
	}{
		"nothere":                 {"no module named 'nothere'", true},
		"apps:helo":               {"did you mean 'hello'?", true},
		"apps.helo":               {"did you mean 'hello'?", true},
		"package.none.app":        {"package.none: not found", true},
		"broken:app":              {"ZeroDivisionError: division by zero", false},
		"imports:app":             {"imports 'surely_not_installed', which is not installed", false},
		"syntax:app":              {"SyntaxError", false},
		"exits:app":               {"SystemExit: 7", false},
		"apps:not_callable":       {"is not callable: 5", false},
		"apps":                    {"", false}, // has app
		"package":                 {"neither application nor app", false},
		"apps:create(1/0)":        {"not plain values", false},
		"apps:create(":            {"neither a name nor a call", false},
		"paste:nothere.ini":       {"there is no file", true},
		"paste:testdata/apps.py":  {"failed to load", false},
		".app":                    {"not a name of the form", true},
		"package.module.app.more": {"no module named 'package.module.app'", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, err := python.Open(t.Context(), name, &python.Options{Interpreter: interpreter, PythonPath: []string{"testdata"}})
			if err != nil {
				t.Fatal(err)
			}
			err = app.Start(t.Context())
			if want.text == "" {
				if err != nil {
					t.Fatal(err)
				}
				_ = app.Close(t.Context())
				return
			}
			var load *python.LoadError
			if !errors.As(err, &load) || !strings.Contains(err.Error(), want.text) || load.Missing != want.missing {
				t.Fatalf("got %v, want %q (missing %v)", err, want.text, want.missing)
			}
			if !strings.Contains(err.Error(), interpreter) || !strings.Contains(err.Error(), "sys.path") {
				t.Errorf("interpreter and sys.path are missing: %v", err)
			}
			if err := app.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestInterpreter(t *testing.T) {
	for _, name := range []string{"/nowhere/python", t.TempDir(), "no-such-python"} {
		if _, err := python.Open(t.Context(), "apps:hello", &python.Options{Interpreter: name}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	app, err := python.Open(t.Context(), "apps:hello", &python.Options{Interpreter: "/bin/true"})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "ended before the app was loaded") {
		t.Errorf("/bin/true: %v", err)
	}
	// A virtualenv's folder, and $VIRTUAL_ENV.
	venv := filepath.Join(t.TempDir(), "venv")
	if out, err := exec.Command(interpreter, "-m", "venv", "--without-pip", venv).CombinedOutput(); err != nil {
		t.Fatalf("venv: %v\n%s", err, out)
	}
	s := serve(t, "apps:hello", python.Options{Interpreter: venv})
	if !strings.Contains(s.log.String(), venv) {
		t.Errorf("not run by %s:\n%s", venv, s.log)
	}
	t.Setenv("VIRTUAL_ENV", venv)
	log := new(logtest.Buffer)
	app, err = python.Open(t.Context(), "apps:hello", &python.Options{PythonPath: []string{"testdata"}, Logger: logger(log)})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = app.Close(t.Context())
	if !strings.Contains(log.String(), venv) {
		t.Errorf("$VIRTUAL_ENV: not run by %s:\n%s", venv, log)
	}
}

func TestMissingPackage(t *testing.T) {
	venv := filepath.Join(t.TempDir(), "venv")
	if out, err := exec.Command(interpreter, "-m", "venv", "--without-pip", venv).CombinedOutput(); err != nil {
		t.Fatalf("venv: %v\n%s", err, out)
	}
	for _, mode := range []python.Mode{python.Gevent, python.Eventlet, python.Tornado} {
		app, err := python.Open(t.Context(), "apps:hello", &python.Options{Interpreter: venv, Mode: mode})
		if err != nil {
			t.Fatal(err)
		}
		if err := app.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "pip install "+mode.String()) {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

func TestOlderAndNewerPythons(t *testing.T) {
	// Whatever CPythons there are beside Debian's.
	found, _ := filepath.Glob(os.Getenv("HOME") + "/.pyenv/versions/3.*/bin/python3")
	for _, path := range found {
		version := filepath.Base(filepath.Dir(filepath.Dir(path)))
		if minor, _ := strconv.Atoi(strings.Split(version, ".")[1]); minor < 8 {
			continue
		}
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			for _, mode := range []python.Mode{python.Serial, python.Threads} {
				s := serve(t, "apps:app", python.Options{Mode: mode, Interpreter: path})
				s.want("/write", 200, "written, returned")
				s.want("/stream?3", 200, "\x00\x01\x02")
				_, _, header := s.get("/header?latin")
				if header.Get("X-Name") != "caf\xe9" {
					t.Errorf("%v", header)
				}
				s.want("/raise", 500, "Internal Server Error\n")
			}
		})
	}
}

func TestHooks(t *testing.T) {
	log := new(logtest.Buffer)
	app, err := python.Open(t.Context(), "apps:hello", &python.Options{
		Interpreter: interpreter, PythonPath: []string{"testdata"}, Logger: logger(log),
		PreHook: "apps.pre_hook", PostHook: "apps:post_hook",
		HookOptions: map[string]any{"backend": "gevent", "spawn": 5},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := app.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); !strings.Contains(text, "pre-hook gevent ['backend', 'spawn']") || !strings.Contains(text, "post-hook gevent") {
		t.Errorf("log:\n%s", text)
	}
}

func TestOutputGoesToTheLog(t *testing.T) {
	s := serve(t, "apps:app", python.Options{})
	s.want("/print", 200, "ok")
	s.want("/close1", 200, "closed")
	s.want("/pid", 200, pid(t, s))
	eventually(t, func() bool { return strings.Contains(s.log.String(), "binary") })
	for _, want := range []string{`msg="printed line"`, "stream=stdout", `msg="an error line"`, "stream=stderr"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, s.log)
		}
	}
}

func pid(t *testing.T, s *served) string {
	t.Helper()
	_, body, _ := s.get("/pid")
	return body
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

// eventually waits for what another process brings about.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("waited 10 seconds in vain")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestCrash(t *testing.T) {
	for _, mode := range []python.Mode{python.Serial, python.Threads, python.Gevent} {
		t.Run(mode.String(), func(t *testing.T) {
			s := serve(t, "apps:app", python.Options{Mode: mode})
			// One in flight and, where the mode runs several, one that crashes beside it.
			waiting := make(chan int, 1)
			if mode != python.Serial {
				go func() { status, _, _ := s.get("/wait?never"); waiting <- status }()
				s.want("/open?other", 200, "ok")
			} else {
				waiting <- 502
			}
			s.want("/kill", 502, "The application has crashed.\n")
			if status := <-waiting; status != 502 {
				t.Errorf("in flight: %d, want 502", status)
			}
			select {
			case err := <-s.Failed():
				if !strings.Contains(err.Error(), "killed") {
					t.Errorf("failed: %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Error("Failed says nothing")
			}
			if status, _, _ := s.get("/pid"); status != 502 {
				t.Errorf("after the crash: %d, want 502", status)
			}
		})
	}
}

func TestChildRestart(t *testing.T) {
	s := serve(t, "apps:app", python.Options{ChildRestart: true})
	first := pid(t, s)
	for range 2 {
		s.want("/kill", 502, "The application has crashed.\n")
		// Requests that come meanwhile wait for the new one.
		var now string
		eventually(t, func() bool {
			_, now, _ = s.get("/pid")
			return now != first && now != "" && !strings.Contains(now, "crashed")
		})
		first = now
	}
	select {
	case err := <-s.Failed():
		t.Errorf("failed: %v", err)
	default:
	}
}

func TestRequestTimeout(t *testing.T) {
	for _, mode := range []python.Mode{python.Threads, python.Gevent} {
		t.Run(mode.String(), func(t *testing.T) {
			s := serve(t, "apps:app", python.Options{Mode: mode, RequestTimeout: 200 * time.Millisecond})
			s.want("/wait?gate", 504, "The application did not answer in time.\n")
			s.want("/open?gate", 200, "ok") // the others go on
		})
	}
	t.Run("serial", func(t *testing.T) {
		s := serve(t, "apps:app", python.Options{RequestTimeout: 200 * time.Millisecond, ChildRestart: true})
		before := pid(t, s)
		s.want("/wait?gate", 504, "The application did not answer in time.\n")
		eventually(t, func() bool {
			status, now, _ := s.get("/pid")
			return status == 200 && now != before
		})
		// Where it was stuck is in the log.
		if !strings.Contains(s.log.String(), "do_wait") {
			t.Errorf("no stack in the log:\n%s", s.log)
		}
	})
}

// A slow request must not hold up the fast ones behind it, though the thread that reads
// the pipe runs it: the app below waits for a request that comes later.
func TestThreadsGoOn(t *testing.T) {
	for _, mode := range []python.Mode{python.Threads, python.Gevent, python.Eventlet} {
		t.Run(mode.String(), func(t *testing.T) {
			s := serve(t, "apps:app", python.Options{Mode: mode, Threads: 4})
			for i := range 5 {
				gate := fmt.Sprint(i)
				var all sync.WaitGroup
				for range 3 {
					all.Go(func() { s.want("/wait?"+gate, 200, "opened") })
				}
				s.want("/open?"+gate, 200, "ok")
				all.Wait()
				s.want("/pid", 200, pid(t, s))
			}
		})
	}
}

func TestEventsAreNotHeldBack(t *testing.T) {
	for _, mode := range []python.Mode{python.Threads, python.Gevent, python.Eventlet} {
		t.Run(mode.String(), func(t *testing.T) {
			s := serve(t, "apps:app", python.Options{Mode: mode})
			resp, err := s.client.Get(s.url + "/events?go")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			first := make([]byte, 9)
			if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "data: 1\n\n" {
				t.Fatalf("first: %q, %v", first, err)
			}
			s.want("/open?go", 200, "ok")
			if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "data: 2\n\n" {
				t.Fatalf("rest: %q, %v", rest, err)
			}
		})
	}
}

// A client that reads slowly holds its request, and neither memory nor the others.
func TestSlowClient(t *testing.T) {
	for _, mode := range []python.Mode{python.Threads, python.Gevent, python.Eventlet} {
		t.Run(mode.String(), func(t *testing.T) {
			s := serve(t, "apps:app", python.Options{Mode: mode})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, "GET", s.url+"/stream?1000000000", nil)
			resp, err := s.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			child := pid(t, s)
			s.want("/pid", 200, child)
			if size := resident(t, child); size > 80<<20 {
				t.Errorf("the child holds %d MiB", size>>20)
			}
			cancel() // the app's generator ends with the client
			s.want("/pid", 200, child)
		})
	}
}

// resident is the memory of a process, in bytes.
func resident(t *testing.T, pid string) int {
	data, err := os.ReadFile("/proc/" + pid + "/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, _ := strconv.Atoi(strings.Fields(string(data))[1])
	return pages * os.Getpagesize()
}

// A child must end with its worker, even where the worker is killed.
func TestChildEndsWithItsWorker(t *testing.T) {
	if os.Getenv("PYTHON_TEST_WORKER") != "" {
		app, err := python.Open(t.Context(), "apps:app", &python.Options{Interpreter: interpreter, PythonPath: []string{"testdata"}})
		if err == nil {
			err = app.Start(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("started")
		select {}
	}
	worker := exec.Command(os.Args[0], "-test.run", "^TestChildEndsWithItsWorker$")
	worker.Env = append(os.Environ(), "PYTHON_TEST_WORKER=1")
	out, err := worker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(out, make([]byte, len("started\n")))
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", worker.Process.Pid, worker.Process.Pid))
	all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", worker.Process.Pid))
	for _, path := range all {
		more, _ := os.ReadFile(path)
		children = append(children, more...)
	}
	pids := strings.Fields(string(children))
	if len(pids) == 0 {
		t.Fatalf("no child found: %v", err)
	}
	_ = worker.Process.Kill()
	_ = worker.Wait()
	for _, pid := range pids {
		n, _ := strconv.Atoi(pid)
		eventually(t, func() bool { return ended(n) })
	}
}

// Signals that a manager sends to the whole group do not end the child before the drain.
func TestChildIgnoresSignals(t *testing.T) {
	s := serve(t, "apps:app", python.Options{Mode: python.Threads})
	n, _ := strconv.Atoi(pid(t, s))
	done := make(chan struct{})
	go func() { defer close(done); s.want("/wait?x", 200, "opened") }()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if err := syscall.Kill(n, signal); err != nil {
			t.Fatal(err)
		}
	}
	s.want("/open?x", 200, "ok")
	<-done
	s.want("/pid", 200, strconv.Itoa(n))
}

func TestCloseCutsWhatHangs(t *testing.T) {
	s := serve(t, "apps:app", python.Options{})
	got := make(chan int)
	go func() { status, _, _ := s.get("/wait?never"); got <- status }()
	// In flight is not enough: the child would end before it has begun with the request.
	eventually(t, func() bool { return strings.Contains(s.log.String(), "waiting for never") })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
	if status := <-got; status != 502 {
		t.Errorf("in flight: %d, want 502", status)
	}
}

func TestManyHeaders(t *testing.T) {
	s := serve(t, "apps:environ", python.Options{})
	req, _ := http.NewRequest("GET", s.url, nil)
	for i := range 10_000 {
		req.Header.Set(fmt.Sprintf("X-%d", i), "v")
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); strings.Count(string(body), "HTTP_X_") != 10_000 {
		t.Errorf("%d headers, want 10000", strings.Count(string(body), "HTTP_X_"))
	}
}
