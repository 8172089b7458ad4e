package adminui_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adminui"
	"github.com/chaussette/chaussette/socketio/engineio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is socket.io-client on long-polling, without a network.
type client struct {
	t   testing.TB
	h   http.Handler
	sid string
	got []string // packets that were polled and not asked for
}

func open(t testing.TB, h http.Handler) *client {
	t.Helper()
	c := &client{t: t, h: h}
	var opened struct{ SID string }
	if err := json.Unmarshal([]byte(c.do("GET", "")[1:]), &opened); err != nil {
		t.Fatal(err)
	}
	c.sid = opened.SID
	return c
}

func (c *client) do(method, body string) string {
	url := "/socket.io/?EIO=4&transport=polling"
	if c.sid != "" {
		url += "&sid=" + c.sid
	}
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, httptest.NewRequestWithContext(c.t.Context(), method, url, strings.NewReader(body)))
	if w.Code != http.StatusOK {
		return "status " + http.StatusText(w.Code) + " " + w.Body.String()
	}
	return w.Body.String()
}

func (c *client) send(packets ...string) {
	c.t.Helper()
	if answer := c.do("POST", strings.Join(packets, "\x1e")); answer != "ok" {
		c.t.Fatalf("%q is answered %q", packets, answer)
	}
}

// next returns the next packet.
func (c *client) next() string {
	for len(c.got) == 0 {
		c.got = strings.Split(c.do("GET", ""), "\x1e")
	}
	p := c.got[0]
	c.got = c.got[1:]
	return p
}

// connect brings the client into a namespace, and returns its id there; a refusal is the
// packet that says so.
func (c *client) connect(namespace, auth string) (id, refused string) {
	c.t.Helper()
	prefix := ""
	if namespace != "/" {
		prefix = namespace + ","
	}
	c.send("40" + prefix + auth)
	for {
		p := c.next()
		if rest, ok := strings.CutPrefix(p, "40"+prefix); ok {
			var data struct{ SID string }
			if err := json.Unmarshal([]byte(rest), &data); err != nil {
				c.t.Fatal(p, err)
			}
			return data.SID, ""
		}
		if strings.HasPrefix(p, "44") {
			return "", p
		}
	}
}

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
type page struct{ *client }

// login opens a page.
func login(t testing.TB, h http.Handler, auth string) page {
	t.Helper()
	c := open(t, h)
	if _, refused := c.connect("/admin", auth); refused != "" {
		t.Fatal(refused)
	}
	return page{c}
}

// until returns the first event of which want is true.
func (p page) until(want func(e event) bool) event {
	p.t.Helper()
	for {
		packet := p.next()
		rest, ok := strings.CutPrefix(packet, "42/admin,")
		if !ok {
			if packet != "2" && packet != "6" && !strings.HasPrefix(packet, "43") {
				p.t.Fatalf("%q", packet)
			}
			if packet == "2" {
				p.send("3")
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
	p.send("42/admin," + event)
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
