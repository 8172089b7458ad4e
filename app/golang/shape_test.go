package golang_test

import (
	"errors"
	"go/token"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/app/golang"
)

const shapesSource = `package shapes

import (
	"errors"
	"net/http"

	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/ws"
)

type site struct{}

func (*site) ServeHTTP(http.ResponseWriter, *http.Request) {}

type room struct{}

func (room) Open(*ws.Conn)                              {}
func (room) Message(*ws.Conn, ws.MessageType, []byte)   {}
func (room) Close(*ws.Conn, *ws.CloseError)             {}

type events struct{}

func (events) RegisterSocketIO(*socketio.Server) {}

var (
	Handler  http.Handler = http.NotFoundHandler()
	Mux                   = http.NewServeMux()
	Value    site
	Literal               = func(http.ResponseWriter, *http.Request) {}
	Room     ws.Handler   = room{}
	Rooms    room
	Events   events
	AppText               = "no app"
	hidden                = http.NotFoundHandler()
)

type Site = site

const Constant = 1

func Func(http.ResponseWriter, *http.Request)  {}
func New() http.Handler                       { return nil }
func NewSite() *site                          { return nil }
func Open() (http.Handler, error)             { return nil, errors.New("no") }
func OpenMux() (*http.ServeMux, error)        { return nil, nil }
func WithArguments(name string) http.Handler  { return nil }
func Nothing()                                {}

var _ = hidden
`

func TestShapes(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{
		"shapes/shapes.go": shapesSource,
		"go.mod":           "module example.com/shapes\n\ngo 1.26\n\nrequire github.com/chaussette/chaussette v0.0.0\n\nreplace github.com/chaussette/chaussette => CHECKOUT\n",
		"program/main.go":  "package main\n\nfunc main() {}\n",
		"broken/broken.go": "package broken\n\nvar App = 1 +\n",
		"types/types.go":   "package types\n\nvar App int = \"one\"\n",
		"imports/i.go":     "package imports\n\nimport _ \"example.com/nowhere/at/all\"\n",
	})
	_, choose, err := golang.Expressions(t.Context(), folder+"/shapes.Handler")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Handler": "app.FromHandler(it.Handler)",
		"Mux":     "app.FromHandler(it.Mux)",
		"Value":   "app.FromHandler(&it.Value)",
		"Literal": "app.FromFunc(it.Literal)",
		"Func":    "app.FromFunc(it.Func)",
		"New":     "app.FromNew(it.New)",
		"NewSite": "app.FromNew(it.NewSite)",
		"Open":    "app.FromOpen(it.Open)",
		"OpenMux": "app.FromOpen(it.OpenMux)",
		"Events":  "app.FromSocketIO(it.Events)",
		"Room":    "app.FromWebSocket(it.Room)",
		"Rooms":   "app.FromWebSocket(it.Rooms)",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := choose(name)
			if err != nil || got != want {
				t.Errorf("%q, %v; want %q", got, err, want)
			}
		})
	}
	for name, wants := range map[string][]string{
		"shapes.Handlr":        {"package example.com/shapes/shapes has no Handlr", "did you mean Handler?", "AppText"},
		"shapes.hidden":        {"is not exported"},
		"shapes.AppText":       {"AppText is a string", "an http.Handler", "a ws.Handler", "a socketio.App"},
		"shapes.Site":          {"is a type"},
		"shapes.Constant":      {"is a constant"},
		"shapes.Nothing":       {"is a func()"},
		"shapes.WithArguments": {"func(name string) http.Handler", "takes no arguments"},
		"program.App":          {"package main, which cannot be imported", "server.Main(App)"},
		"nowhere.App":          {"no folder", "nowhere"},
		"shapes":               {"has no name after its package"},
		"shapes.a-b":           {`"a-b" is no name`},
		"broken.App":           {"broken.go:4:1: syntax error"},
		"types.App":            {"types.go:3:15: cannot use \"one\""},
		"imports.App":          {"i.go:3:8: no required module provides package example.com/nowhere/at/all"},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if export, ok := strings.CutPrefix(name, "shapes."); ok && token.IsIdentifier(export) {
				_, err = choose(export)
			} else {
				_, err = golang.Expression(t.Context(), folder+"/"+name)
			}
			for _, want := range wants {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nlacks %q", err, want)
				}
			}
		})
	}
	t.Run("error types", func(t *testing.T) {
		_, err := choose("Handlr")
		var name *golang.NameError
		if !errors.As(err, &name) || name.Nearest != "Handler" {
			t.Errorf("%#v", err)
		}
		_, err = choose("AppText")
		var typ *golang.TypeError
		if !errors.As(err, &typ) || typ.Is != "a string" {
			t.Errorf("%#v", err)
		}
		_, err = golang.Expression(t.Context(), folder+"/types.App")
		var command *golang.CommandError
		if !errors.As(err, &command) {
			t.Errorf("%#v", err)
		}
	})
}

func TestNoModule(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"it.go": hello("it", "x")})
	_, err := golang.Expression(t.Context(), folder+"/.App")
	if err == nil || !strings.Contains(err.Error(), "go mod init") {
		t.Errorf("%v", err)
	}
	_, err = golang.Expression(t.Context(), "example.com/nowhere/at/all.App")
	if err == nil || !strings.Contains(err.Error(), "example.com/nowhere/at/all") {
		t.Errorf("%v", err)
	}
}
