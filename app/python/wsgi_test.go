package python_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/app/python"
)

// each runs test on one child a mode. name is of testdata.
func each(t *testing.T, name string, test func(t *testing.T, s *served)) {
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			test(t, serve(t, name, python.Options{Mode: mode}))
		})
	}
}

// TestWSGI is one child a mode for all that one can show: to start it takes its time.
func TestWSGI(t *testing.T) {
	each(t, "apps:app", func(t *testing.T, s *served) {
		for _, part := range []struct {
			name string
			test func(*testing.T, *served)
		}{
			{"input", testInput},
			{"input unread", testInputIsNotReadUnlessWanted},
			{"stream", testStream},
			{"responses", testResponses},
			{"file", testFileWrapper},
		} {
			t.Run(part.name, func(t *testing.T) {
				outer := s.t
				s.t = t
				defer func() { s.t = outer }()
				part.test(t, s)
			})
		}
	})
}

func TestEnviron(t *testing.T) {
	s := serve(t, "apps:environ", python.Options{ServerSoftware: "Test/1", ScriptName: "/mounted/", Multiprocess: true})
	req, _ := http.NewRequest("POST", s.url+"/mounted/caf%C3%A9%2Fx?q=%20y", strings.NewReader("body"))
	req.Header.Set("Content-Type", "text/x")
	req.Header.Add("X-Repeated", "a")
	req.Header.Add("X-Repeated", "b")
	req.Header.Add("Cookie", "a=1")
	req.Header.Add("Cookie", "b=2")
	req.Header.Set("X-Latin", "caf\xe9")
	req.Header["X_Under"] = []string{"spoof"}
	req.Header.Set("Proxy", "evil")
	req.Host = "example.com:99"
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(s.url, "http://")
	for key, want := range map[string]any{
		"REQUEST_METHOD": "POST", "SCRIPT_NAME": "/mounted", "PATH_INFO": "/caf\u00c3\u00a9/x",
		"QUERY_STRING": "q=%20y", "REQUEST_URI": "/mounted/caf%C3%A9%2Fx?q=%20y",
		"SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": address[strings.LastIndex(address, ":")+1:],
		"REMOTE_ADDR": "127.0.0.1", "CONTENT_TYPE": "text/x", "CONTENT_LENGTH": "4",
		"HTTP_HOST": "example.com:99", "HTTP_X_REPEATED": "a,b", "HTTP_COOKIE": "a=1; b=2", "HTTP_X_LATIN": "caf\u00e9",
		"SERVER_SOFTWARE": "Test/1", "wsgi.url_scheme": "http", "wsgi.version": "(1, 0)", "wsgi.multithread": false,
		"wsgi.multiprocess": true, "wsgi.run_once": false, "wsgi.input_terminated": true,
		"HTTP_X_UNDER": nil, "HTTP_PROXY": nil, "HTTP_CONTENT_TYPE": nil, "HTTP_CONTENT_LENGTH": nil,
	} {
		if got[key] != want {
			t.Errorf("%s: %#v, want %#v", key, got[key], want)
		}
	}
}

func TestMultithreadIsTrueToTheMode(t *testing.T) {
	for mode, want := range map[python.Mode]bool{python.Serial: false, python.Threads: true, python.Gevent: true, python.Eventlet: true, python.Tornado: false} {
		s := serve(t, "apps:environ", python.Options{Mode: mode})
		_, body, _ := s.get("/")
		if strings.Contains(body, `"wsgi.multithread": true`) != want {
			t.Errorf("%s: want multithread %v: %s", mode, want, body)
		}
	}
}

func TestValidate(t *testing.T) {
	each(t, "apps:validated", func(t *testing.T, s *served) {
		s.want("/", 200, "valid")
		s.want("/a/b?write", 200, "wvalid")
		if status, body, _ := s.do("POST", "/", strings.NewReader("some\nlines\n")); status != 200 || body != "valid" {
			t.Errorf("POST: %d %q", status, body)
		}
		if strings.Contains(s.log.String(), "Error") {
			t.Errorf("log:\n%s", s.log)
		}
	})
}

func testInput(t *testing.T, s *served) {
	body := make([]byte, 3_000_000)
	rand.New(rand.NewSource(1)).Read(body)
	for _, size := range []int{0, 1, 1000, 64 << 10, 64<<10 + 1, 300_000, len(body)} {
		data := body[:size]
		want := fmt.Sprintf("%d %x", size, sha256.Sum256(data))
		for _, how := range []string{"all", "length", "lines", "iter", "line", "small", "blocks"} {
			if status, got, _ := s.do("POST", "/read?"+how, bytes.NewReader(data)); how == "length" && size == 0 && status == 200 {
				continue
			} else if status != 200 || got != want {
				t.Errorf("%d bytes by %s: %d %q, want %q", size, how, status, got, want)
			}
			if how == "length" {
				continue // chunked has none
			}
			// A reader of unknown length is sent in chunks.
			if status, got, _ := s.do("POST", "/read?"+how, io.MultiReader(bytes.NewReader(data))); status != 200 || got != want {
				t.Errorf("%d bytes in chunks by %s: %d %q, want %q", size, how, status, got, want)
			}
		}
	}
}

func testInputIsNotReadUnlessWanted(t *testing.T, s *served) {
	// The app never reads 5 MB, with and without asking first.
	for _, expect := range []string{"", "100-continue"} {
		req, _ := http.NewRequest("POST", s.url+"/pid", bytes.NewReader(make([]byte, 5_000_000)))
		if expect != "" {
			req.Header.Set("Expect", expect)
		}
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatalf("expect %q: %v", expect, err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("expect %q: %d", expect, resp.StatusCode)
		}
	}
	// And where it reads it is told to go on.
	req, _ := http.NewRequest("POST", s.url+"/read?all", strings.NewReader("hello"))
	req.Header.Set("Expect", "100-continue")
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, _ := io.ReadAll(resp.Body); !strings.HasPrefix(string(got), "5 ") {
		t.Errorf("got %q", got)
	}
}

func testStream(t *testing.T, s *served) {
	pattern := bytes.Repeat(func() []byte {
		b := make([]byte, 256)
		for i := range b {
			b[i] = byte(i)
		}
		return b
	}(), 256)
	for _, size := range []int{0, 1, 65536, 65537, 1 << 20, 5<<20 + 5} {
		want := append(bytes.Repeat(pattern, size/len(pattern)), pattern[:size%len(pattern)]...)
		for _, query := range []string{"", "&length"} {
			status, got, _ := s.get(fmt.Sprintf("/stream?%d%s", size, query))
			if status != 200 || got != string(want) {
				t.Errorf("%d bytes%s: %d, %d bytes, equal %v", size, query, status, len(got), got == string(want))
			}
		}
	}
	status, got, header := s.get("/list")
	if want := strings.Repeat("x", 100000) + strings.Repeat("y", 100000); status != 200 || got != want || header.Get("Content-Length") != "200000" {
		t.Errorf("list: %d, %d bytes, %v", status, len(got), header)
	}
}

func testResponses(t *testing.T, s *served) {
	s.want("/closing", 200, "onetwo")
	s.want("/closingerror", 200, "one (unexpected EOF)")
	s.want("/closed", 200, "2")
	s.want("/write", 200, "written, returned")
	s.want("/excinfo", 503, "second")
	s.want("/excinfolate", 200, "begun (unexpected EOF)")
	for _, path := range []string{"/twice", "/nostart", "/text", "/raise", "/exit", "/recurse"} {
		s.want(path, 500, "Internal Server Error\n")
	}
	s.want("/thread", 200, "from a thread")
	s.want("/fork", 200, "from the parent")
	s.want("/main", 200, "([], 'apps', ['chaussette', 'apps:app'])")
	s.want("/bytesio", 200, "not a file")
	for _, want := range []string{"called twice", "before start_response was called", "the body holds str", "too late", "SystemExit", "RecursionError", "ValueError: caf\u00e9 \u20ac", "in the middle"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

func TestStatusAndHead(t *testing.T) {
	s := serve(t, "apps:app", python.Options{})
	for _, code := range []string{"200", "201", "404", "418", "299"} {
		if status, body, header := s.get("/status?" + code); fmt.Sprint(status) != code || body != "body" || header.Get("Content-Length") != "4" {
			t.Errorf("%s: %d %q %v", code, status, body, header)
		}
	}
	for _, path := range []string{"/status?204", "/status?304", "/lazystatus?204", "/lazystatus?304"} {
		if status, body, header := s.get(path); body != "" || status != 204 && status != 304 {
			t.Errorf("%s: %d %q %v", path, status, body, header)
		}
	}
	for _, code := range []string{"100", "103", "99", "abc"} {
		if status, _, _ := s.get("/status?" + code); status != 500 {
			t.Errorf("%s: %d, want 500", code, status)
		}
	}
	for path, length := range map[string]string{"/status?200": "4", "/lazystatus?200": "7", "/stream?100&length": "100", "/list": "200000"} {
		if status, body, header := s.do("HEAD", path, nil); status != 200 || body != "" || header.Get("Content-Length") != length {
			t.Errorf("HEAD %s: %d %q %v", path, status, body, header)
		}
	}
	s.want("/lazystatus?200", 200, "no body")
}

func TestHeaders(t *testing.T) {
	s := serve(t, "apps:app", python.Options{})
	for query, want := range map[string]string{"latin": "caf\xe9", "subclass": "sub"} {
		if _, _, header := s.get("/header?" + query); header.Get("X-Name") != want {
			t.Errorf("%s: %v", query, header)
		}
	}
	for _, query := range []string{"newline", "euro", "number", "bytes", "name", "triple"} {
		if status, _, header := s.get("/header?" + query); status != 500 || header.Get("X-Evil") != "" {
			t.Errorf("%s: %d %v, want 500", query, status, header)
		}
	}
	if _, _, header := s.get("/header?cookies"); strings.Join(header["Set-Cookie"], " ") != "a=1 b=2" {
		t.Errorf("cookies: %v", header)
	}
	if _, body, header := s.get("/header?hop"); body != "ok" || header.Get("Keep-Alive") != "" || header.Get("X-Kept") != "1" || header.Get("Content-Length") != "2" {
		t.Errorf("hop by hop: %v", header)
	}
	if _, _, header := s.get("/header?server"); header.Get("Server") != "mine" || !strings.Contains(header.Get("Date"), "2001") {
		t.Errorf("server: %v", header)
	}
}

func TestContentLengthIsChecked(t *testing.T) {
	s := serve(t, "apps:app", python.Options{})
	for _, how := range []string{"whole", "parts"} {
		s.want("/length?5&5&"+how, 200, "xxxxx")
		s.want("/length?3&5&"+how, 200, "xxx")
		s.want("/length?9&5&"+how, 200, "xxxxx (unexpected EOF)")
	}
	if n := strings.Count(s.log.String(), "another Content-Length"); n != 4 {
		t.Errorf("%d log lines on the length, want 4:\n%s", n, s.log)
	}
}

func testFileWrapper(t *testing.T, s *served) {
	path := filepath.Join(t.TempDir(), "file")
	data := make([]byte, 200_000)
	rand.New(rand.NewSource(2)).Read(data)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		offset, length int
		query          string
	}{{0, 200_000, "0&&"}, {1000, 199_000, "1000&&"}, {5, 7, "5&7&"}, {200_000, 0, "200000&&"}} {
		status, got, header := s.get("/file?" + test.query + path)
		if want := string(data[test.offset : test.offset+test.length]); status != 200 || got != want {
			t.Errorf("%s: %d, %d bytes, equal %v", test.query, status, len(got), got == want)
		}
		if header.Get("Content-Length") != fmt.Sprint(test.length) {
			t.Errorf("%s: %v", test.query, header)
		}
	}
	if status, body, header := s.do("HEAD", "/file?0&&"+path, nil); status != 200 || body != "" || header.Get("Content-Length") != "200000" {
		t.Errorf("HEAD: %d %q %v", status, body, header)
	}
	s.want("/file?0&200001&"+path, 200, string(data)+" (unexpected EOF)")
}
