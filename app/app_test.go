package app_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/chaussette/chaussette/app"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	for name, want := range map[string]app.Name{
		"":                              {Kind: app.Builtin, Path: "hello"},
		"hello":                         {Kind: app.Builtin, Path: "hello"},
		"chaussette.util.hello_app":     {Kind: app.Builtin, Path: "hello"},
		"chaussette.util.bench_app":     {Kind: app.Builtin, Path: "bench"},
		"go:./chat.App":                 {Kind: app.Go, Path: "./chat.App"},
		"./chat.App":                    {Kind: app.Go, Path: "./chat.App"},
		"../chat.App":                   {Kind: app.Go, Path: "../chat.App"},
		"github.com/me/chat.App":        {Kind: app.Go, Path: "github.com/me/chat.App"},
		"python:hello":                  {Kind: app.Python, Path: "hello"},
		"mysite.wsgi.application":       {Kind: app.Python, Path: "mysite.wsgi.application"},
		"mysite.wsgi:application":       {Kind: app.Python, Path: "mysite.wsgi:application"},
		"pkg:create_app()":              {Kind: app.Python, Path: "pkg:create_app()"},
		"word":                          {Kind: app.Python, Path: "word"},
		"paste:etc/production.ini#main": {Kind: app.Paste, Path: "etc/production.ini#main"},
		"paste:development.ini":         {Kind: app.Paste, Path: "development.ini"},
	} {
		if got, err := app.Parse(name); err != nil || got != want {
			t.Errorf("Parse(%q) = %#v, %v; want %#v", name, got, err, want)
		}
	}
	for _, name := range []string{"go:", "python:", "paste:", "paste:#main", "./chat", "host.name/chat"} {
		var e *app.NameError
		if got, err := app.Parse(name); !errors.As(err, &e) || e.Name != name {
			t.Errorf("Parse(%q) = %v, %v; want a NameError", name, got, err)
		}
	}
}

func TestOpenUnknown(t *testing.T) {
	a, err := app.Open(context.Background(), "helo", nil)
	if err != nil {
		t.Fatal(err)
	}
	err = app.Start(context.Background(), a)
	var e *app.NameError
	if !errors.As(err, &e) || e.Nearest != "hello" {
		t.Fatalf("Start = %v", err)
	}
	for _, want := range []string{"helo", "did you mean hello?", "bench"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

// A misspelt built-in is told from what it resembles where there is no Python as well.
func TestOpenUnknownWithoutPython(t *testing.T) {
	t.Setenv("VIRTUAL_ENV", t.TempDir())
	_, err := app.Open(context.Background(), "helo", nil)
	var e *app.NameError
	if !errors.As(err, &e) || e.Nearest != "hello" || !strings.Contains(err.Error(), "without bin/python3") {
		t.Errorf("Open = %v", err)
	}
}

func TestBuiltins(t *testing.T) {
	for name, want := range map[string]string{
		"chaussette.util.hello_app": "hello world",
		"chaussette.util.bench_app": "<h1>",
	} {
		ctx := context.Background()
		a, err := app.Open(ctx, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := app.Start(ctx, a); err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s answers %d %q", name, w.Code, w.Body)
		}
		if err := app.Close(ctx, a); err != nil {
			t.Error(err)
		}
		if d := app.Describe(a); !strings.HasSuffix(d, "(built-in)") {
			t.Errorf("Describe = %q", d)
		}
	}
}

// A client that leaves ends the wait for it.
func TestBenchClientLeaves(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	a, err := app.Open(ctx, "bench", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Start(ctx, a); err != nil {
		t.Fatal(err)
	}
	defer app.Close(context.Background(), a)
	cancel()
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest("GET", "/", nil).WithContext(ctx))
	if w.Body.Len() > 0 {
		t.Errorf("it was sent %q", w.Body)
	}
}
