package app_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/app"
	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/ws"
)

type events struct{}

func (events) RegisterSocketIO(*socketio.Server) {}

type room struct{ started *bool }

func (room) Open(*ws.Conn)                            {}
func (room) Message(*ws.Conn, ws.MessageType, []byte) {}
func (room) Close(*ws.Conn, *ws.CloseError)           {}
func (r room) Start(context.Context) error            { *r.started = true; return nil }

func TestMakers(t *testing.T) {
	teapot := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }
	var started bool
	for name, c := range map[string]struct {
		maker  app.Maker
		status int
	}{
		"FromHandler":   {app.FromHandler(http.HandlerFunc(teapot)), http.StatusTeapot},
		"FromFunc":      {app.FromFunc(teapot), http.StatusTeapot},
		"FromNew":       {app.FromNew(func() http.Handler { return http.HandlerFunc(teapot) }), http.StatusTeapot},
		"FromOpen":      {app.FromOpen(func() (http.Handler, error) { return http.HandlerFunc(teapot), nil }), http.StatusTeapot},
		"FromWebSocket": {app.FromWebSocket(room{&started}), http.StatusUpgradeRequired},
		"FromSocketIO":  {app.FromSocketIO(events{}), http.StatusNotFound},
	} {
		a, err := c.maker()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := app.Start(t.Context(), a); err != nil {
			t.Error(err)
		}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != c.status {
			t.Errorf("%s answers %d, not %d", name, w.Code, c.status)
		}
		if _, ok := a.(socketio.App); ok != (name == "FromSocketIO") {
			t.Errorf("%s: socketio.App: %v", name, ok)
		}
		if handler := ws.HandlerOf(a); (handler != nil) != (name == "FromWebSocket") {
			t.Errorf("%s: ws.Handler: %v", name, handler)
		}
	}
	if !started {
		t.Error("a ws.Handler that is a Starter is not started")
	}
}

func TestMakersFail(t *testing.T) {
	broken := errors.New("no database")
	for name, c := range map[string]struct {
		maker app.Maker
		want  string
	}{
		"an error":        {app.FromOpen(func() (http.Handler, error) { return nil, broken }), "no database"},
		"no handler":      {app.FromNew(func() http.Handler { return nil }), "is nil"},
		"a nil interface": {app.FromHandler[http.Handler](nil), "is nil"},
		"a nil pointer":   {app.FromHandler((*http.ServeMux)(nil)), "is nil"},
		"a nil func":      {app.FromFunc(nil), "is nil"},
		"a nil New":       {app.FromNew[http.Handler](nil), "is nil"},
		"a nil Open":      {app.FromOpen[http.Handler](nil), "is nil"},
		"no ws.Handler":   {app.FromWebSocket(nil), "is nil"},
		"no socketio.App": {app.FromSocketIO(nil), "is nil"},
	} {
		if a, err := c.maker(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v", name, a, err)
		}
	}
}
