package socketio_test

import (
	"net/http"
	"testing"

	"github.com/chaussette/chaussette/internal/siotest"
	"github.com/chaussette/chaussette/socketio"
)

// connect opens a client and brings it into a namespace.
func connect(t testing.TB, h http.Handler, namespace string) *siotest.Client {
	t.Helper()
	c := siotest.Open(t, h)
	if _, refused := c.Connect(namespace, ""); refused != "" {
		t.Fatal(refused)
	}
	return c
}

func newServer(t testing.TB, o *socketio.Options) *socketio.Server {
	io := socketio.NewServer(o)
	t.Cleanup(func() {
		if err := io.Close(); err != nil {
			t.Error(err)
		}
	})
	return io
}
