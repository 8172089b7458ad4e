package engineio_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaussette/chaussette/socketio/engineio"
)

// exchange is an Exchange in memory.
type exchange struct {
	r    *http.Request
	body []byte
	gone func()

	mu     sync.Mutex
	status int
	header http.Header
	answer string
}

func newExchange(method, target, body string, header ...string) *exchange {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return &exchange{r: r, body: []byte(body)}
}

func (x *exchange) Method() string            { return x.r.Method }
func (x *exchange) Path() string              { return x.r.URL.Path }
func (x *exchange) Query() string             { return x.r.URL.RawQuery }
func (x *exchange) Header(name string) string { return x.r.Header.Get(name) }
func (x *exchange) RemoteAddr() string        { return x.r.RemoteAddr }
func (x *exchange) OnGone(f func())           { x.gone = f }
func (x *exchange) Request() *http.Request    { return x.r }

func (x *exchange) Body(max int64) ([]byte, error) {
	if int64(len(x.body)) > max {
		return nil, &http.MaxBytesError{Limit: max}
	}
	return x.body, nil
}

func (x *exchange) Respond(status int, header []engineio.Field, body []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.status != 0 {
		panic("answered twice")
	}
	x.status, x.answer, x.header = status, string(body), http.Header{}
	for _, f := range header {
		x.header.Add(f.Name, f.Value)
	}
}

// got is what x was answered; 0 if nothing.
func (x *exchange) got() (int, string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.status, x.answer
}

func (x *exchange) want(t *testing.T, status int, answer string) {
	t.Helper()
	if s, a := x.got(); s != status || a != answer {
		t.Errorf("%s %s: %d %q, want %d %q", x.Method(), x.r.URL, s, a, status, answer)
	}
}

// recorder is a Handler that keeps what it is told, and echoes.
type recorder struct {
	mu     sync.Mutex
	last   *engineio.Session
	heard  []string
	closed []engineio.Reason
}

func (h *recorder) Open(s *engineio.Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = s
}

func (h *recorder) Message(s *engineio.Session, m engineio.Message) {
	h.mu.Lock()
	h.heard = append(h.heard, string(m.Data))
	h.mu.Unlock()
	_ = s.Send(m)
}

func (h *recorder) Close(_ *engineio.Session, reason engineio.Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = append(h.closed, reason)
}

func (h *recorder) reasons() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b bytes.Buffer
	for _, r := range h.closed {
		b.WriteString(string(r) + ";")
	}
	return b.String()
}

// open makes a session on polling, and returns it with the URL of its requests.
func open(t *testing.T, srv *engineio.Server, h *recorder, query string) (*engineio.Session, string) {
	t.Helper()
	x := newExchange("GET", "/engine.io/?transport=polling&"+query, "")
	if !srv.ServeExchange(x) {
		t.Fatal("not served")
	}
	if status, answer := x.got(); status != http.StatusOK {
		t.Fatal(status, answer)
	}
	return h.last, "/engine.io/?transport=polling&" + query + "&sid=" + string(h.last.ID())
}

func serve(t *testing.T, srv *engineio.Server, x *exchange) *exchange {
	t.Helper()
	if !srv.ServeExchange(x) {
		t.Fatalf("%s %s: not served", x.Method(), x.r.URL)
	}
	return x
}

// A poll is answered by whoever has something to send. Nothing waits for it: the test has
// one goroutine.
func TestExchange(t *testing.T) {
	h := &recorder{}
	srv := engineio.NewServer(h, nil)
	defer srv.Close()
	s, url := open(t, srv, h, "EIO=4")

	poll := serve(t, srv, newExchange("GET", url, ""))
	poll.want(t, 0, "")
	post := serve(t, srv, newExchange("POST", url, "4hello"))
	poll.want(t, http.StatusOK, "4hello")
	post.want(t, http.StatusOK, "ok")

	// What comes while no poll is there waits for the next, in order.
	_ = s.Send(engineio.Message{Data: []byte("a")}, engineio.Message{Data: []byte("b"), Binary: true})
	_ = s.SendPrepared(engineio.Prepare(engineio.Message{Data: []byte("c")}))
	poll = serve(t, srv, newExchange("GET", url, ""))
	poll.want(t, http.StatusOK, "4a\x1ebYg==\x1e4c")
	if got := poll.header.Get("Content-Type"); got != "text/plain; charset=UTF-8" {
		t.Error(got)
	}

	// The client goes from one poll: that of before is no concern of the session any more.
	first := serve(t, srv, newExchange("GET", url, ""))
	_ = s.Send(engineio.Message{Data: []byte("d")})
	first.gone()
	if s.Done() {
		t.Fatal("a poll that was answered has ended the session")
	}
	second := serve(t, srv, newExchange("GET", url, ""))
	second.gone()
	if !s.Done() || h.reasons() != "transport close;" {
		t.Fatal(s.Done(), h.reasons())
	}
	second.want(t, 0, "")
	serve(t, srv, newExchange("GET", url, "")).want(t, http.StatusBadRequest, `{"code":1,"message":"Session ID unknown"}`)
}

// What an Exchange cannot serve is left untouched.
func TestExchangeNotServed(t *testing.T) {
	h := &recorder{}
	asked := engineio.SID("")
	srv := engineio.NewServer(h, &engineio.Options{Elsewhere: func(w http.ResponseWriter, _ *http.Request, id engineio.SID) bool {
		asked = id
		w.WriteHeader(http.StatusTeapot)
		return true
	}})
	defer srv.Close()
	_, url := open(t, srv, h, "EIO=4")
	upgrade := []string{"Upgrade", "websocket", "Connection", "Upgrade"}
	for name, x := range map[string]*exchange{
		"another path":          newExchange("GET", "/", ""),
		"a path below":          newExchange("GET", "/engine.io/x.js", ""),
		"a path that begins so": newExchange("GET", "/engine.io/10", ""),
		"WebSocket":             newExchange("GET", "/engine.io/?EIO=4&transport=websocket", "", upgrade...),
		"an upgrade":            newExchange("GET", strings.Replace(url, "polling", "websocket", 1), "", upgrade...),
		"another's session":     newExchange("GET", url+"x", ""),
		"another's 0.9":         newExchange("GET", "/engine.io/1/xhr-polling/x", ""),
	} {
		t.Run(name, func(t *testing.T) {
			if srv.ServeExchange(x) {
				t.Error("served")
			}
			x.want(t, 0, "")
		})
	}
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, httptest.NewRequest("GET", url+"x", nil))
	if w.Code != http.StatusTeapot || !strings.HasSuffix(string(asked), "x") {
		t.Error(w.Code, asked)
	}
}

// A worker that has too many sessions leaves new ones to Newcomer, and serves those it has.
func TestNewcomer(t *testing.T) {
	h := &recorder{}
	crowded, passed := false, 0
	srv := engineio.NewServer(h, &engineio.Options{
		Crowded: func() bool { return crowded },
		Newcomer: func(w http.ResponseWriter, _ *http.Request) bool {
			if crowded {
				passed++
				w.WriteHeader(http.StatusTeapot)
			}
			return crowded
		},
	})
	defer srv.Close()
	s, url := open(t, srv, h, "EIO=4")
	crowded = true
	for _, c := range []struct {
		method, url string
		passes      bool
	}{
		{"GET", "/engine.io/?EIO=4&transport=polling", true},
		{"GET", "/engine.io/1/", true},
		{"OPTIONS", "/engine.io/?EIO=4&transport=polling", false},
		{"POST", "/engine.io/?EIO=4&transport=polling", false},
		{"GET", "/engine.io/?EIO=4&transport=polling&sid=x", false},
		{"GET", "/engine.io/1/xhr-polling/x", false},
	} {
		if served := srv.ServeExchange(newExchange(c.method, c.url, "")); served == c.passes {
			t.Errorf("%s %s: served without waiting: %t", c.method, c.url, served)
		}
		before, w := passed, httptest.NewRecorder()
		srv.ServeHTTP(w, httptest.NewRequest(c.method, c.url, nil))
		if (passed > before) != c.passes || (w.Code == http.StatusTeapot) != c.passes {
			t.Errorf("%s %s: passed on %d times, status %d", c.method, c.url, passed-before, w.Code)
		}
	}
	s.Send(engineio.Message{Data: []byte("for the one that is here")})
	serve(t, srv, newExchange("GET", url, "")).want(t, http.StatusOK, "4for the one that is here")
	crowded = false
	if open(t, srv, h, "EIO=4"); passed != 2 {
		t.Errorf("passed on %d times", passed)
	}
}

// What is not as it should be: the answer, and whether the session survives.
func TestExchangeBadInput(t *testing.T) {
	for _, c := range []struct {
		name, method, url, body string // the url after that of the session, or whole
		status                  int
		answer                  string
		survives                bool
	}{
		{"unknown sid", "GET", "/engine.io/?EIO=4&transport=polling&sid=nobody", "", 400, `{"code":1,"message":"Session ID unknown"}`, true},
		{"unknown transport", "GET", "/engine.io/?EIO=4&transport=pigeon", "", 400, `{"code":0,"message":"Transport unknown"}`, true},
		{"no transport", "GET", "/engine.io/?EIO=4", "", 400, `{"code":0,"message":"Transport unknown"}`, true},
		{"unknown revision", "GET", "/engine.io/?EIO=5&transport=polling", "", 400, `{"code":5,"message":"Unsupported protocol version"}`, true},
		{"no revision", "GET", "/engine.io/?transport=polling", "", 400, `{"code":5,"message":"Unsupported protocol version"}`, true},
		{"a handshake by POST", "POST", "/engine.io/?EIO=4&transport=polling", "", 400, `{"code":2,"message":"Bad handshake method"}`, true},
		{"WebSocket without upgrade", "GET", "/engine.io/?EIO=4&transport=websocket", "", 400, `{"code":3,"message":"Bad request"}`, true},
		{"another method", "PUT", "", "4x", 400, `{"code":3,"message":"Bad request"}`, true},
		{"more than the limit", "POST", "", "4" + strings.Repeat("x", 100), 413, "payload too large\n", false},
		{"cut in a rune", "POST", "", "4\xe2\x82", 400, `{"code":3,"message":"Bad request"}`, false},
		{"nothing", "POST", "", "", 400, `{"code":3,"message":"Bad request"}`, false},
		{"a reserved type", "POST", "", "7x", 400, `{"code":3,"message":"Bad request"}`, false},
		{"no base64", "POST", "", "b!!", 400, `{"code":3,"message":"Bad request"}`, false},
		{"a ping of the client's", "POST", "", "2", 400, `{"code":3,"message":"Bad request"}`, false},
		{"an open packet", "POST", "", "0{}", 400, `{"code":3,"message":"Bad request"}`, false},
		{"an upgrade by POST", "POST", "", "5", 400, `{"code":3,"message":"Bad request"}`, false},
		{"its end", "POST", "", "1", 200, "ok", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &recorder{}
			srv := engineio.NewServer(h, &engineio.Options{MaxPayload: 100})
			defer srv.Close()
			s, url := open(t, srv, h, "EIO=4")
			if c.url != "" {
				url = c.url
			}
			serve(t, srv, newExchange(c.method, url, c.body)).want(t, c.status, c.answer)
			if s.Done() == c.survives {
				t.Errorf("done %t", s.Done())
			}
		})
	}
}

// A second poll while one waits is an error that ends the session, and both.
func TestTwoPolls(t *testing.T) {
	h := &recorder{}
	srv := engineio.NewServer(h, nil)
	defer srv.Close()
	s, url := open(t, srv, h, "EIO=4")
	first := serve(t, srv, newExchange("GET", url, ""))
	second := serve(t, srv, newExchange("GET", url, ""))
	first.want(t, http.StatusOK, "1")
	second.want(t, http.StatusBadRequest, `{"code":3,"message":"Bad request"}`)
	if !s.Done() || h.reasons() != "transport error;" {
		t.Error(s.Done(), h.reasons())
	}
}

// A session that the server closes is there until its client has fetched the rest.
func TestCloseOnPolling(t *testing.T) {
	h := &recorder{}
	srv := engineio.NewServer(h, nil)
	defer srv.Close()
	s, url := open(t, srv, h, "EIO=4")
	_ = s.Send(engineio.Message{Data: []byte("last")})
	s.Close()
	if srv.Len() != 1 || h.reasons() != "forced close;" {
		t.Fatal(srv.Len(), h.reasons())
	}
	serve(t, srv, newExchange("GET", url, "")).want(t, http.StatusOK, "4last")
	serve(t, srv, newExchange("GET", url, "")).want(t, http.StatusOK, "1") // alone, or Node's client takes "last" for later
	if srv.Len() != 0 || h.reasons() != "forced close;" {
		t.Error(srv.Len(), h.reasons())
	}

	s, url = open(t, srv, h, "EIO=4")
	poll := serve(t, srv, newExchange("GET", url, ""))
	s.Close()
	poll.want(t, http.StatusOK, "1")
	if srv.Len() != 0 {
		t.Error(srv.Len())
	}
}

// Revisions and JSONP differ in what an answer looks like.
func TestAnswers(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for _, c := range []struct {
		name, query string
		header      []string
		send        engineio.Message
		answer      string
		fields      map[string]string
	}{
		{"3", "EIO=3", nil, engineio.Message{Data: []byte("x€")}, "3:4x€", map[string]string{"Content-Type": "text/plain; charset=UTF-8", "Vary": ""}},
		{"3, binary", "EIO=3", nil, engineio.Message{Data: []byte("x"), Binary: true}, "\x01\x02\xff\x04x", map[string]string{"Content-Type": "application/octet-stream"}},
		{"3, base64", "EIO=3&b64=1", nil, engineio.Message{Data: []byte("x"), Binary: true}, "6:b4eA==", map[string]string{"Content-Type": "text/plain; charset=UTF-8"}},
		{"3, JSONP", "EIO=3&j=7", nil, engineio.Message{Data: []byte("x"), Binary: true}, `___eio[7]("6:b4eA==");`,
			map[string]string{"Content-Type": "text/javascript; charset=UTF-8", "X-Content-Type-Options": "nosniff"}},
		{"4, JSONP, a script for a number", "EIO=4&j=1);alert(2", nil, engineio.Message{Data: []byte("</script>\u2028")}, `___eio[12]("4\u003c/script\u003e\u2028");`, nil},
		{"an origin that may not", "EIO=4", []string{"Origin", "https://evil.example"}, engineio.Message{Data: []byte("x")}, "4x",
			map[string]string{"Access-Control-Allow-Origin": "", "Vary": "Origin"}},
		{"an origin that may", "EIO=4", []string{"Origin", "https://good.example"}, engineio.Message{Data: []byte("x")}, "4x",
			map[string]string{"Access-Control-Allow-Origin": "https://good.example", "Access-Control-Allow-Credentials": "true", "Vary": "Origin"}},
		{"a parameter of the app's", "EIO=4&i=5&jsonp=6", nil, engineio.Message{Data: []byte("x")}, "4x", nil},
		{"large, not compressed", "EIO=4", nil, engineio.Message{Data: []byte(long)}, "4" + long, map[string]string{"Content-Encoding": ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &recorder{}
			srv := engineio.NewServer(h, &engineio.Options{Origins: []string{"good.example"}})
			defer srv.Close()
			s, url := open(t, srv, h, c.query)
			poll := serve(t, srv, newExchange("GET", url, "", c.header...))
			_ = s.Send(c.send)
			poll.want(t, http.StatusOK, c.answer)
			for name, want := range c.fields {
				if got := poll.header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
	h := &recorder{}
	srv := engineio.NewServer(h, nil)
	defer srv.Close()
	s, url := open(t, srv, h, "EIO=4")
	poll := serve(t, srv, newExchange("GET", url, "", "Accept-Encoding", "br, gzip;q=0.5"))
	_ = s.Send(engineio.Message{Data: []byte(long)})
	if _, answer := poll.got(); poll.header.Get("Content-Encoding") != "gzip" || len(answer) > 200 {
		t.Error(poll.header, len(answer))
	}
}

// A handshake may set a cookie, and may be refused by the app or for want of room.
func TestHandshakes(t *testing.T) {
	h := &recorder{}
	srv := engineio.NewServer(h, &engineio.Options{
		MaxSessions: 1, Cookie: &http.Cookie{},
		Allow: func(r *http.Request) (any, error) {
			if r.Header.Get("X-Key") != "right" {
				return nil, errors.New("no key")
			}
			return "value", nil
		},
	})
	defer srv.Close()
	handshake := func(key string) *exchange {
		return serve(t, srv, newExchange("GET", "/engine.io/?EIO=4&transport=polling", "", "X-Key", key))
	}
	handshake("wrong").want(t, http.StatusForbidden, `{"code":4,"message":"no key"}`)
	x := handshake("right")
	if want := "io=" + string(h.last.ID()) + "; Path=/; HttpOnly; SameSite=Lax"; x.header.Get("Set-Cookie") != want || h.last.Value() != "value" {
		t.Error(x.header, h.last.Value())
	}
	if r := h.last.Request(); r.Header.Get("X-Key") != "right" || r.URL.Query().Get("EIO") != "4" {
		t.Error(r.Header, r.URL)
	}
	x = handshake("right")
	x.want(t, http.StatusServiceUnavailable, "too many sessions\n")
	if x.header.Get("Retry-After") == "" {
		t.Error(x.header)
	}
}

// The next ping follows the answer by the interval, also where a client may take longer
// than that to answer: it expects a ping within both times together.
func TestPingsWithALongTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &recorder{}
		srv := engineio.NewServer(h, &engineio.Options{PingInterval: time.Second, PingTimeout: 30 * time.Second})
		defer srv.Close()
		_, url := open(t, srv, h, "EIO=4")
		for range 3 {
			poll := serve(t, srv, newExchange("GET", url, ""))
			time.Sleep(1500 * time.Millisecond)
			poll.want(t, http.StatusOK, "2")
			serve(t, srv, newExchange("POST", url, "3")).want(t, http.StatusOK, "ok")
		}
	})
}

// In 0.9 a poll ends now and then, and one that waits is told of what ends the session.
func TestExchange09(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &recorder{}
		srv := engineio.NewServer(h, &engineio.Options{PingInterval: 10 * time.Second, PingTimeout: 30 * time.Second})
		defer srv.Close()
		x := serve(t, srv, newExchange("GET", "/engine.io/1/?t=1&jsonp=3", ""))
		_, answer := x.got()
		rest, ok := strings.CutPrefix(answer, `io.j[3]("`)
		id, rest, _ := strings.Cut(rest, ":")
		if !ok || rest != `40:40:websocket,xhr-polling,jsonp-polling");` {
			t.Fatal(answer)
		}
		url := "/engine.io/1/xhr-polling/" + id + "?t=2&i=4" // i is for jsonp-polling alone
		serve(t, srv, newExchange("GET", url, "")).want(t, http.StatusOK, "1::")
		poll := serve(t, srv, newExchange("GET", url, ""))
		poll.want(t, 0, "")
		time.Sleep(12 * time.Second) // the ping is due after as long, and may come first
		if status, answer := poll.got(); status != http.StatusOK || answer != "8::" && answer != "2::" {
			t.Error(status, answer)
		}
		serve(t, srv, newExchange("POST", url, "2::")).want(t, http.StatusOK, "1")
		poll = serve(t, srv, newExchange("GET", "/engine.io/1/jsonp-polling/"+id+"?i=4", ""))
		if status, _ := poll.got(); status == 0 { // a ping has waited
			_ = h.last.Send(engineio.Message{Data: []byte("3:::x")})
		}
		if _, answer := poll.got(); answer != `io.j[4]("3:::x");` && answer != `io.j[4]("2::");` {
			t.Error(answer)
		}
		poll = serve(t, srv, newExchange("GET", url, ""))
		serve(t, srv, newExchange("GET", url+"&disconnect=1", "")).want(t, http.StatusOK, "")
		if status, _ := poll.got(); status != http.StatusOK || srv.Len() != 0 || h.reasons() != "transport close;" {
			t.Error(status, srv.Len(), h.reasons())
		}
	})
}

// The app may add to answers, and hears of what is refused and why.
func TestHeaderAndRefused(t *testing.T) {
	var refused []string
	h := &recorder{}
	srv := engineio.NewServer(h, &engineio.Options{
		MaxPayload: 10, MaxSessions: 1,
		Header: func(r *http.Request) http.Header { return http.Header{"X-Method": {r.Method}} },
		Refused: func(r *http.Request, err error) {
			refused = append(refused, r.Method+" "+err.Error())
		},
	})
	defer srv.Close()
	s, url := open(t, srv, h, "EIO=4")
	poll := serve(t, srv, newExchange("GET", url, "", "Origin", "https://elsewhere.example"))
	_ = s.Send(engineio.Message{Data: []byte("x")})
	if poll.header.Get("X-Method") != "GET" || poll.header.Get("Vary") != "Origin" || poll.header.Get("Content-Type") == "" {
		t.Error(poll.header)
	}
	if post := serve(t, srv, newExchange("POST", url, "4x")); post.header.Get("X-Method") != "POST" {
		t.Error(post.header)
	}
	if x := serve(t, srv, newExchange("OPTIONS", url, "", "Origin", "https://elsewhere.example")); x.header.Get("X-Method") != "OPTIONS" {
		t.Error(x.header)
	}
	if len(refused) != 0 {
		t.Error(refused)
	}
	if x := serve(t, srv, newExchange("GET", "/engine.io/?EIO=9&transport=polling", "")); x.header.Get("X-Method") != "GET" {
		t.Error(x.header)
	}
	serve(t, srv, newExchange("GET", "/engine.io/?EIO=4&transport=polling", ""))
	serve(t, srv, newExchange("POST", url, "4"+strings.Repeat("x", 10)))
	w := httptest.NewRecorder() // it cannot become a WebSocket
	r := httptest.NewRequest("GET", "/engine.io/?EIO=4&transport=websocket", nil)
	r.Header.Set("Upgrade", "websocket")
	srv.ServeHTTP(w, r)
	want := []string{
		"GET engine.io: Unsupported protocol version", "GET too many sessions", "POST http: request body too large",
		"GET websocket refused: 400 Bad Request: no Connection: Upgrade header (a proxy may have removed it)",
	}
	if strings.Join(refused, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q", refused)
	}
}

// A drain waits until clients on polling have heard of it. What they post meanwhile has
// crossed that, and is no error of theirs.
func TestDrainOfPolling(t *testing.T) {
	h := &recorder{}
	srv := engineio.NewServer(h, nil)
	defer srv.Close()
	s, url := open(t, srv, h, "EIO=4")
	_ = s.Send(engineio.Message{Data: []byte("last")})
	drained := make(chan error, 1)
	go func() { drained <- srv.Drain(t.Context()) }()
	for end := time.Now().Add(20 * time.Second); !s.Done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the session is not closed")
		}
	}
	serve(t, srv, newExchange("POST", url, "4late")).want(t, http.StatusOK, "ok")
	serve(t, srv, newExchange("GET", url, "")).want(t, http.StatusOK, "4last")
	select {
	case err := <-drained:
		t.Fatalf("drained before the client knew: %v", err)
	default:
	}
	serve(t, srv, newExchange("GET", url, "")).want(t, http.StatusOK, "1")
	if err := <-drained; err != nil {
		t.Error(err)
	}
	serve(t, srv, newExchange("POST", url, "4later")).want(t, http.StatusOK, "ok")
	if h.reasons() != "server shutting down;" || len(h.heard) > 0 {
		t.Errorf("%q %q", h.reasons(), h.heard)
	}
}
