package adminui_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/chaussette/chaussette/internal/siotest"
	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adminui"
	"github.com/chaussette/chaussette/socketio/engineio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// event is one that a page is sent.
type event struct {
	name string
	args []json.RawMessage
}

func (e event) String() string {
	all := []string{e.name}
	for _, a := range e.args {
		all = append(all, string(a))
	}
	return strings.Join(all, " ")
}

// page is a client in /admin.
type page struct {
	*siotest.Client
	t testing.TB
}

// login opens a page.
func login(t testing.TB, h http.Handler, auth string) page {
	t.Helper()
	c := siotest.Open(t, h)
	if _, refused := c.Connect("/admin", auth); refused != "" {
		t.Fatal(refused)
	}
	return page{c, t}
}

// until returns the first event of which want is true.
func (p page) until(want func(e event) bool) event {
	p.t.Helper()
	for {
		packet := p.Next()
		rest, ok := strings.CutPrefix(packet, "42/admin,")
		if !ok {
			if packet != "6" && !strings.HasPrefix(packet, "43") {
				p.t.Fatalf("%q", packet)
			}
			continue
		}
		var args []json.RawMessage
		if err := json.Unmarshal([]byte(rest), &args); err != nil {
			p.t.Fatal(err)
		}
		e := event{args: args[1:]}
		_ = json.Unmarshal(args[0], &e.name)
		if want(e) {
			return e
		}
	}
}

func (p page) await(name string) event {
	p.t.Helper()
	return p.until(func(e event) bool { return e.name == name })
}

// expect wants an event that begins with these arguments, as JSON.
func (p page) expect(name string, args ...string) event {
	p.t.Helper()
	return p.until(func(e event) bool {
		if e.name != name || len(e.args) < len(args) {
			return false
		}
		for i, a := range args {
			if string(e.args[i]) != a {
				return false
			}
		}
		return true
	})
}

// says sends an event.
func (p page) says(event string) {
	p.t.Helper()
	p.Send("42/admin," + event)
}

func hash(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

const secret = `{"username":"ada","password":"secret"}`

func newServer(t testing.TB, factory adapter.Factory, o adminui.Options) *socketio.Server {
	t.Helper()
	io := socketio.NewServer(&socketio.Options{Adapter: factory, Engine: engineio.Options{MaxQueue: 64 << 20}})
	t.Cleanup(func() {
		if err := io.Close(); err != nil {
			t.Error(err)
		}
	})
	if !o.NoAuth {
		o.Username, o.PasswordHash = "ada", hash(t, "secret")
	}
	if err := adminui.Register(io, &o); err != nil {
		t.Fatal(err)
	}
	return io
}
