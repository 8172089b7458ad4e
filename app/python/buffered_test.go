package python_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/app/python"
)

// Behind a server that keeps responses whole, the child keeps them where they are.
func TestBuffered(t *testing.T) {
	for _, mode := range []python.Mode{python.Threads, python.Gevent, python.Tornado} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			s := serve(t, "apps:app", python.Options{Mode: mode, Buffered: true})
			for _, size := range []int{0, 1, 65536, 65537, 500_000, 1 << 20, 1<<20 + 1, 5_000_000} {
				for _, how := range []string{"", "&length"} {
					status, body, header := s.get(fmt.Sprintf("/stream?%d%s", size, how))
					if status != 200 || len(body) != size || header.Get("Content-Length") != fmt.Sprint(size) {
						t.Errorf("%d%s: %d, %d bytes, %v", size, how, status, len(body), header)
					}
				}
			}
			s.want("/write", 200, "written, returned")
			s.want("/list", 200, strings.Repeat("x", 100000)+strings.Repeat("y", 100000))
			s.want("/closing", 200, "onetwo")
			s.want("/excinfo", 503, "second")
			// What fails in its middle has not begun yet.
			s.want("/closingerror", 500, "Internal Server Error\n")
			s.want("/excinfolate", 500, "Internal Server Error\n")
			s.want("/closed", 200, "2")
			if status, body, header := s.do("HEAD", "/stream?500000", nil); status != 200 || body != "" || header.Get("Content-Length") != "500000" {
				t.Errorf("HEAD: %d, %d bytes, %v", status, len(body), header)
			}
			// A file is sent as it is, and nobody need keep it.
			testFileWrapper(t, s)
			upload := bytes.Repeat([]byte("0123456789"), 200_000)
			if status, body, _ := s.do("POST", "/read?all", bytes.NewReader(upload)); status != 200 || !strings.HasPrefix(body, "2000000 ") {
				t.Errorf("upload: %d %q", status, body)
			}
		})
	}
}

// Clients that do not read hold up none of the app's threads.
func TestBufferedKeepsTheAppFromItsClients(t *testing.T) {
	s := serve(t, "apps:app", python.Options{Mode: python.Threads, Threads: 2, Buffered: true})
	for range 8 {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.(*net.TCPConn).SetReadBuffer(4096)
		// Many on one connection: the kernel's buffers do not take them all.
		_, _ = io.WriteString(c, strings.Repeat("GET /stream?1000000&length HTTP/1.1\r\nHost: x\r\n\r\n", 20))
	}
	for range 20 {
		s.want("/stream?10", 200, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09")
	}
	status, body, _ := s.get("/stream?1000000&length")
	if status != http.StatusOK || len(body) != 1_000_000 {
		t.Errorf("%d, %d bytes", status, len(body))
	}
}

// A client that sends slowly holds up none of the app's threads, and its body comes to the app when it
// is whole: of the connection up to a size, and of a file beyond.
func TestBufferedUploads(t *testing.T) {
	s := serve(t, "apps:app", python.Options{Mode: python.Threads, Threads: 1, Buffered: true})
	for _, size := range []int{100_000, 1 << 20, 1<<20 + 1} {
		body := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		var slow []net.Conn
		for range 3 {
			c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			fmt.Fprintf(c, "POST /read?all HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size)
			if _, err := c.Write(body[:size/2]); err != nil {
				t.Fatal(err)
			}
			slow = append(slow, c)
		}
		for range 20 {
			s.want("/stream?10", 200, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09")
		}
		sum := fmt.Sprintf("%d %x", size, sha256.Sum256(body))
		for i, c := range slow {
			in := bufio.NewReader(c)
			for range 2 { // the connection goes on
				if _, err := c.Write(body[size/2:]); err != nil {
					t.Fatal(err)
				}
				r, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(r.Body); err != nil || r.StatusCode != 200 || string(got) != sum {
					t.Errorf("%d bytes, client %d: %d %q, %v, want %q", size, i, r.StatusCode, got, err, sum)
				}
				fmt.Fprintf(c, "POST /read?all HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", size, body[:size/2])
			}
		}
	}
}

// An app that does not read what has come leaves the connection as it was.
func TestBufferedUploadsThatNobodyReads(t *testing.T) {
	s := serve(t, "apps:app", python.Options{Mode: python.Threads, Threads: 1, Buffered: true})
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(c)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/write", "/part?1000", "/file?0&&" + path, "/part?100000", "/part?300000", "/stream?500000", "/raise", "/pid"} {
		const size = 1_000_000
		go fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, size, strings.Repeat("x", size))
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(path, err)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil || (r.StatusCode == 200) == (path == "/raise") || r.Close {
			t.Errorf("%s: %d, %v, close %t", path, r.StatusCode, err, r.Close)
		}
	}
}

// A connection that the child has when nobody waits for its answer any more ends: how much the
// child has read of it is not known, nor where the next request begins.
func TestBufferedUploadThatTakesTooLong(t *testing.T) {
	s := serve(t, "apps:app", python.Options{Mode: python.Threads, Threads: 1, Buffered: true, RequestTimeout: 200 * time.Millisecond})
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	const size = 200_000 // which net/http would read for nothing
	request := fmt.Sprintf("POST /partslow?1 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size))
	go func() { _, _ = io.WriteString(c, request+request) }() // it fails with the connection
	in := bufio.NewReader(c)
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r.Body); r.StatusCode != http.StatusGatewayTimeout || !r.Close {
		t.Errorf("%d, %v, close %t", r.StatusCode, err, r.Close)
	}
	if rest, _ := io.ReadAll(in); len(rest) > 0 { // a reset is as good as an end
		t.Errorf("and then %q", rest)
	}
}
