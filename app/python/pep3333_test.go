//go:build linux

package python_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/app/python"
	"github.com/chaussette/chaussette/listener"
	"github.com/chaussette/chaussette/loop/http1"
)

// onLoop serves the app of s on event loops.
func onLoop(t *testing.T, s *served) *served {
	t.Helper()
	server, err := http1.New(&http1.Options{Handler: s.App, Direct: s.App, Log: logger(s.log)})
	if err != nil {
		t.Fatal(err)
	}
	ls, err := listener.Open("127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(ls[0]) }()
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = ls[0].Close()
		if err := <-serving; err != nil {
			t.Error(err)
		}
		_ = server.Close()
	})
	return &served{App: s.App, url: "http://" + ls[0].Addr().String(), log: s.log, client: &http.Client{Transport: transport}, t: t}
}

// rules are those of PEP 3333: a GET, or a POST of posted, and what it gets.
const posted = "one\ntwo\n\nthree"

var rules = []struct {
	method, path string
	status       int
	body         string
}{
	{"GET", "/native/caf%C3%A9?q=%ff", 200, "(True, [])"},

	{"POST", "/input?read", 200, `[b'one\ntwo\n\nthree']`},
	{"POST", "/input?read:None", 200, `[b'one\ntwo\n\nthree']`},
	{"POST", "/input?read:0,read:-1,read:-1,read:5", 200, `[b'', b'one\ntwo\n\nthree', b'', b'']`},
	{"POST", "/input?read:3,read:100,read", 200, `[b'one', b'\ntwo\n\nthree', b'']`},
	{"POST", "/input?readline,readline,readline,readline,readline", 200, `[b'one\n', b'two\n', b'\n', b'three', b'']`},
	{"POST", "/input?readline:0,readline:2,readline:-1,readline:None,readline:100", 200, `[b'', b'on', b'e\n', b'two\n', b'\n']`},
	{"POST", "/input?readlines", 200, `[[b'one\n', b'two\n', b'\n', b'three']]`},
	{"POST", "/input?readlines:1,readlines:1,readlines:None", 200, `[[b'one\n'], [b'two\n'], [b'\n', b'three']]`},
	{"POST", "/input?iter,iter", 200, `[[b'one\n', b'two\n', b'\n', b'three'], []]`},
	{"POST", "/input?read:2,readline,iter,read", 200, `[b'on', b'e\n', [b'two\n', b'\n', b'three'], b'']`},
	{"GET", "/input?read,read:1,readline,readlines,iter", 200, `[b'', b'', b'', [], []]`},

	{"GET", "/close", 200, "ab"},
	{"HEAD", "/close?head", 200, ""},
	{"GET", "/close?first", 500, "Internal Server Error\n"},
	{"GET", "/close?middle", 200, "a (unexpected EOF)"},
	{"GET", "/close?exit", 200, "a (unexpected EOF)"},
	{"GET", "/close?interrupt", 200, "a (unexpected EOF)"},
	{"GET", "/close?text", 200, "a (unexpected EOF)"},
	{"GET", "/close?none", 500, "Internal Server Error\n"},
	{"GET", "/close?nostart", 500, "Internal Server Error\n"},
	{"GET", "/close?badhead", 500, "Internal Server Error\n"},
	{"GET", "/close?inclose", 200, "ab"},
	{"GET", "/close?empty", 200, ""},
	{"GET", "/close?empties", 200, ""},
	{"GET", "/close?204", 204, ""},
	{"GET", "/close?304", 304, ""},
	{"GET", "/close?long", 200, "a"},
	{"GET", "/close?short", 200, "ab (unexpected EOF)"},
	{"GET", "/closed", 200, "' head first middle exit interrupt text none nostart badhead inclose empty empties 204 304 long short'"},

	{"GET", "/start?again", 503, "second"},
	{"GET", "/start?againempty", 503, "second"},
	{"GET", "/start?againsent", 200, "sent (unexpected EOF)"},
	{"GET", "/start?twice", 500, "Internal Server Error\n"},
	{"GET", "/start?never", 500, "Internal Server Error\n"},
	{"GET", "/start?late", 200, "late"},
	{"GET", "/start?write", 200, "abc"},
	{"GET", "/start?writelength", 200, "abc"},
	{"GET", "/start?writetext", 500, "Internal Server Error\n"},
	{"GET", "/start?writewhile", 200, "written, yielded"},
	{"GET", "/start?none", 500, "Internal Server Error\n"},
	{"GET", "/start?str", 500, "Internal Server Error\n"},
	{"GET", "/start?bytes", 500, "Internal Server Error\n"},
	{"GET", "/start?bytearray", 500, "Internal Server Error\n"},
	{"GET", "/start?tuple", 200, "ab"},
	{"GET", "/start?subclass", 200, "sub"},

	{"GET", "/status?200", 200, "body"},
	{"GET", "/status?299%20caf%C3%A9", 299, "body"}, // which is latin-1
	{"GET", "/status?200%20%E2%82%AC", 500, "Internal Server Error\n"},
	{"GET", "/status?2000%20OK", 500, "Internal Server Error\n"},
	{"GET", "/status?200-OK", 500, "Internal Server Error\n"},
	{"GET", "/status?%20200%20OK", 500, "Internal Server Error\n"},
	{"GET", "/status?200%20OK%0AX:y", 500, "Internal Server Error\n"},
	{"GET", "/status?", 500, "Internal Server Error\n"},
	{"GET", "/status?100%20Continue", 500, "Internal Server Error\n"},
	{"GET", "/status?%EF%BC%92%EF%BC%90%EF%BC%90%20OK", 500, "Internal Server Error\n"}, // digits that are no ASCII

	{"GET", "/header?str", 500, "Internal Server Error\n"},
	{"GET", "/header?bytes", 500, "Internal Server Error\n"},
	{"GET", "/header?set", 500, "Internal Server Error\n"},
	{"GET", "/header?dict", 500, "Internal Server Error\n"},
	{"GET", "/header?none", 500, "Internal Server Error\n"},
	{"GET", "/header?number", 500, "Internal Server Error\n"},
	{"GET", "/header?one", 500, "Internal Server Error\n"},
	{"GET", "/header?int", 500, "Internal Server Error\n"},
	{"GET", "/header?nothing", 500, "Internal Server Error\n"},
	{"GET", "/header?names", 500, "Internal Server Error\n"},
	{"GET", "/header?lf", 500, "Internal Server Error\n"},
	{"GET", "/header?cr", 500, "Internal Server Error\n"},
	{"GET", "/header?nul", 500, "Internal Server Error\n"},
	{"GET", "/header?euro", 500, "Internal Server Error\n"},
	{"GET", "/header?name", 500, "Internal Server Error\n"},
	{"GET", "/header?noname", 500, "Internal Server Error\n"},
	{"GET", "/header?colon", 500, "Internal Server Error\n"},
	{"GET", "/header?namelf", 500, "Internal Server Error\n"},
	{"GET", "/header?lengths", 500, "Internal Server Error\n"},
	{"GET", "/header?lengthtwice", 200, "body"},
	{"GET", "/header?list", 200, "body X=a"},
	{"GET", "/header?empty", 200, "body X="},
	{"GET", "/header?latin", 200, "body X=\xe9"},
	{"GET", "/header?twice", 200, "body X=1,2"},
	{"GET", "/header?hop", 200, "body X=kept"},

	{"GET", "/wrapper?bytes", 200, "0123456789"},
	{"GET", "/wrapper?closes", 200, "closed"},
	{"GET", "/closed", 200, "'wrapped'"},
	{"GET", "/wrapper?reader", 200, "ab"},
	{"GET", "/wrapper?fails", 200, "first (unexpected EOF)"},
	{"GET", "/wrapper?pipe", 200, "from a pipe"},
	{"GET", "/wrapper?middleware", 200, "copied"},
	{"GET", "/wrapper?gzip", 200, "what was compressed"},
	{"GET", "/wrapper?bufferedgzip", 200, "what was compressed"},
	{"GET", "/wrapper?temporary", 200, "sent"},
	{"GET", "/wrapper?unbuffered", 200, "sent"},

	{"GET", "/errors", 200, "'ok'"},
	{"GET", "/fail", 500, "Internal Server Error\n"},
	{"GET", "/fail?exit", 500, "Internal Server Error\n"},
	{"GET", "/fail?interrupt", 500, "Internal Server Error\n"},
}

func testRules(t *testing.T, s *served) {
	for _, rule := range rules {
		bodies := []io.Reader{nil}
		if rule.method == "POST" {
			// With a length, and in chunks.
			bodies = []io.Reader{strings.NewReader(posted), io.MultiReader(strings.NewReader(posted))}
		}
		for _, body := range bodies {
			status, got, header := s.do(rule.method, rule.path, body)
			if values, ok := header["X"]; ok {
				got += " X=" + strings.Join(values, ",")
			}
			if status != rule.status || got != rule.body {
				t.Errorf("%s %s: %d %q, want %d %q", rule.method, rule.path, status, got, rule.status, rule.body)
			}
		}
	}
	eventually(t, func() bool { return strings.Contains(s.log.String(), "past sys.stdout") })
	for _, want := range []string{
		"written caf\u00e9 \u20ac", "one line", "another", "surrogate ", "binary ", "at once", "later \u20ac ", "in close",
		"the body holds str, want bytes", "the body holds NoneType, want bytes", "the body holds bytearray, want bytes",
		"without calling start_response", "too late", "a header is not a pair", "ValueError: caf\u00e9 \u20ac ", "SystemExit: bye \u20ac", "KeyboardInterrupt",
	} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

// testClientLeaves: close() is called when the client goes in the middle.
func testClientLeaves(t *testing.T, s *served) {
	resp, err := s.client.Get(s.url + "/close?endless")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 100_000)
	_ = resp.Body.Close()
	eventually(t, func() bool {
		_, names, _ := s.get("/closed")
		return strings.Contains(names, "endless")
	})
}

func TestPEP3333(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			s := serve(t, "pep3333:app", python.Options{Mode: mode})
			loop := onLoop(t, s)
			for name, s := range map[string]*served{"net/http": s, "loop": loop} {
				t.Run(name, func(t *testing.T) {
					outer := s.t
					s.t = t
					defer func() { s.t = outer }()
					testRules(t, s)
					testClientLeaves(t, s)
				})
			}
		})
	}
}

// What is kept until the app has returned is no response where it is not complete: nothing of
// it has been sent, so the answer says so.
func TestBufferedIncomplete(t *testing.T) {
	for _, mode := range []python.Mode{python.Threads, python.Gevent, python.Tornado} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			s := serve(t, "pep3333:app", python.Options{Mode: mode, Buffered: true})
			for _, s := range []*served{s, onLoop(t, s)} {
				for _, path := range []string{"/close?middle", "/close?short", "/close?large", "/close?largeshort", "/wrapper?fails", "/start?againsent"} {
					s.want(path, 500, "Internal Server Error\n")
				}
				s.want("/close?long", 200, "a")
				s.want("/close", 200, "ab")
			}
		})
	}
}

// Where the app is mounted, as a proxy says it.
func TestScriptName(t *testing.T) {
	s := serve(t, "pep3333:app", python.Options{ScriptName: "/sh\u00f6p"})
	for _, s := range []*served{s, onLoop(t, s)} {
		for path, want := range map[string]string{
			"/sh%C3%B6p/place/x": `('/sh` + "\u00c3\u00b6" + `p', '/place/x')`,
			"/sh%c3%b6p/place":   `('/sh` + "\u00c3\u00b6" + `p', '/place')`,
			// The proxy has taken it off.
			"/place/x": `('/sh` + "\u00c3\u00b6" + `p', '/place/x')`,
		} {
			s.want(path, 200, want)
		}
		// Not by half of a name.
		if status, _, _ := s.get("/sh%C3%B6pper/place"); status != 500 {
			t.Errorf("a longer name: %d, want 500 of an app that does not know it", status)
		}
	}
}

// Addresses, as the CGI specification has them (RFC 3875, 4.1.8 and 4.1.14).
func TestAddresses(t *testing.T) {
	s := serve(t, "pep3333:app", python.Options{})
	unix := filepath.Join(t.TempDir(), "socket")
	server, err := http1.New(&http1.Options{Handler: s.App, Direct: s.App, Log: logger(s.log)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	serving := make(chan error, 2)
	for _, address := range []string{"[::1]:0", "unix:" + unix} {
		ls, err := listener.Open(address, nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() { serving <- server.Serve(ls[0]) }()
		defer func() { _ = ls[0].Close(); <-serving }()
		network, at := ls[0].Addr().Network(), ls[0].Addr().String()
		_, port, _ := net.SplitHostPort(at)
		for host, want := range map[string]string{
			"h:81":     fmt.Sprintf("('[::1]', '%s', '::1')", port),
			"[::2]:81": fmt.Sprintf("('[::1]', '%s', '::1')", port),
			"":         fmt.Sprintf("('[::1]', '%s', '::1')", port),
		} {
			if network == "unix" {
				want = map[string]string{"h:81": "('h', '81', '')", "[::2]:81": "('[::2]', '81', '')", "": "('localhost', '80', '')"}[host]
			}
			c, err := net.Dial(network, at)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			fmt.Fprintf(c, "GET /address HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
			r, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, _ := io.ReadAll(r.Body); string(body) != want {
				t.Errorf("%s, asked for %q: %s, want %s", network, host, body, want)
			}
			_ = c.Close()
		}
	}
}
