package buffer_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/server/buffer"
)

func TestBuffer(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, size := range []int{0, 1, buffer.InMemory, buffer.InMemory + 1, 3*buffer.InMemory + 7} {
		var b buffer.Buffer
		want := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 100_003)
			if _, err := b.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		r, err := b.Reader()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) || b.Size() != int64(size) {
			t.Errorf("%d bytes came back as %d (Size %d), %v", size, len(got), b.Size(), err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestBufferLimit(t *testing.T) {
	b := buffer.Buffer{Limit: 10}
	defer b.Close()
	if _, err := b.Write(make([]byte, 8)); err != nil {
		t.Error(err)
	}
	if n, err := b.Write(make([]byte, 3)); n != 0 || !errors.Is(err, buffer.ErrFull) {
		t.Errorf("Write over the limit = %d, %v", n, err)
	}
	if _, err := b.Write(make([]byte, 2)); err != nil {
		t.Error(err)
	}
}

func TestBufferWithoutRoom(t *testing.T) {
	t.Setenv("TMPDIR", "/does/not/exist")
	var b buffer.Buffer
	defer b.Close()
	if _, err := b.Write(make([]byte, buffer.InMemory+1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Write = %v", err)
	}
}

// The app is called once the request is whole, and has returned when the first byte of
// the response goes out.
func TestHandlerKeepsTheAppFromTheClient(t *testing.T) {
	requestBody, sendBody := io.Pipe()
	called, returned := make(chan bool, 1), make(chan bool, 1)
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		called <- true
		body, err := io.ReadAll(r.Body)
		if err != nil || r.ContentLength != int64(len(body)) || len(r.TransferEncoding) > 0 {
			t.Errorf("the app sees %d bytes, Content-Length %d, %v", len(body), r.ContentLength, err)
		}
		_, _ = w.Write(body)
		returned <- true
	})
	h := buffer.Handler(app, 0, slog.New(slog.DiscardHandler))
	r := httptest.NewRequest("POST", "/", requestBody)
	r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
	recorder := httptest.NewRecorder()
	w := writerFunc{recorder, func() {
		select {
		case <-returned:
			returned <- true
		default:
			t.Error("the response began before the app had returned")
		}
	}}
	served := make(chan bool)
	go func() { h.ServeHTTP(w, r); close(served) }()
	_, _ = io.WriteString(sendBody, "half ") // has been read when this returns
	select {
	case <-called:
		t.Error("the app was called with half a request")
	default:
	}
	_, _ = io.WriteString(sendBody, "whole")
	_ = sendBody.Close()
	<-served
	if got := recorder.Body.String(); got != "half whole" || recorder.Header().Get("Content-Length") != "10" {
		t.Errorf("got %q %v", got, recorder.Header())
	}
}

// writerFunc calls before each write.
type writerFunc struct {
	http.ResponseWriter
	before func()
}

func (w writerFunc) WriteHeader(status int) { w.before(); w.ResponseWriter.WriteHeader(status) }
func (w writerFunc) Write(p []byte) (int, error) {
	w.before()
	return w.ResponseWriter.Write(p)
}

func TestHandlerResponses(t *testing.T) {
	for _, c := range []struct {
		name, method string
		app          http.HandlerFunc
		status       int
		length       string
		body         string
	}{
		{"nothing written", "GET", func(http.ResponseWriter, *http.Request) {}, 200, "0", ""},
		{"a status alone", "GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, 404, "0", ""},
		{"no content", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(204)
			if _, err := io.WriteString(w, "x"); !errors.Is(err, http.ErrBodyNotAllowed) {
				t.Errorf("a body with 204: %v", err)
			}
		}, 204, "", ""},
		{"the first status holds", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(201)
			w.WriteHeader(500)
			_, _ = io.WriteString(w, "made")
		}, 201, "4", "made"},
		{"too large", "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Set-Cookie", "of the response that is not sent")
			_, err := w.Write(make([]byte, 101))
			if !errors.Is(err, buffer.ErrFull) {
				t.Errorf("Write = %v", err)
			}
		}, 500, "", "The response could not be buffered.\n"},
		{"flush is not supported", "GET", func(w http.ResponseWriter, _ *http.Request) {
			if err := http.NewResponseController(w).Flush(); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("Flush = %v", err)
			}
		}, 200, "0", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			w := httptest.NewRecorder()
			buffer.Handler(c.app, 100, slog.New(slog.NewTextHandler(&log, nil))).ServeHTTP(w, httptest.NewRequest(c.method, "/", nil))
			if w.Code != c.status || w.Header().Get("Content-Length") != c.length || w.Body.String() != c.body {
				t.Errorf("got %d, Content-Length %q, %q", w.Code, w.Header().Get("Content-Length"), w.Body)
			}
			if c.status == 500 && (!strings.Contains(log.String(), "buffer-limit") || w.Header().Get("Set-Cookie") != "") {
				t.Errorf("headers %v, log %q", w.Header(), log.String())
			}
		})
	}
}

// A request is whole whatever its size is and whatever it comes in, and in a file where it is not
// small, for those who want one.
func TestHandlerKeepsRequests(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 100_000, buffer.InMemory, buffer.InMemory + 1, 3*buffer.InMemory + 7} {
		for _, known := range []bool{false, true} {
			for _, at := range []int{100, 1 << 20} {
				want := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
				app := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					file := r.Body.(interface{ File() *os.File }).File()
					if (file != nil) != (size >= 64<<10) {
						t.Errorf("%d bytes: a file is %t", size, file != nil)
					}
					got, err := io.ReadAll(r.Body)
					if err != nil || !bytes.Equal(got, want) || r.ContentLength != int64(size) {
						t.Errorf("%d bytes came back as %d (%d), %v", size, len(got), r.ContentLength, err)
					}
					if file == nil {
						return
					}
					if info, err := file.Stat(); err != nil || info.Size() != int64(size) {
						t.Errorf("%d bytes in a file of %d, %v", size, info.Size(), err)
					}
				})
				r := httptest.NewRequest("POST", "/", &inParts{want, at})
				if r.ContentLength = -1; known {
					r.ContentLength = int64(size)
				}
				buffer.Handler(app, 0, slog.New(slog.DiscardHandler)).ServeHTTP(httptest.NewRecorder(), r)
			}
		}
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	t.Setenv("TMPDIR", "/does/not/exist")
	w := httptest.NewRecorder()
	app := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("called with half a request") })
	buffer.Handler(app, 0, slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest("POST", "/", bytes.NewReader(make([]byte, buffer.InMemory+1))))
	if w.Code != http.StatusBadRequest {
		t.Errorf("without room: %d", w.Code)
	}
}

// inParts is a reader of so many bytes at once.
type inParts struct {
	b  []byte
	at int
}

func (r *inParts) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.at)], r.b)
	r.b = r.b[n:]
	return n, nil
}

// An app that sends a file has made all of its response: nothing is kept of it.
func TestHandlerLetsAFileThrough(t *testing.T) {
	handler := func(before string) http.Handler {
		return buffer.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, before)
			to := w.(interface{ Through() http.ResponseWriter }).Through()
			_, _ = io.WriteString(to, "file")
		}), 0, slog.New(slog.DiscardHandler))
	}
	for before, length := range map[string]string{"": "", "kept, ": "10"} {
		got := httptest.NewRecorder()
		handler(before).ServeHTTP(got, httptest.NewRequest("GET", "/", nil))
		// What was kept already has its length counted.
		if got.Code != http.StatusAccepted || got.Body.String() != before+"file" || got.Header().Get("Content-Length") != length {
			t.Errorf("after %q: %d %q, %v", before, got.Code, got.Body, got.Header())
		}
	}
}

// held is a body that the engine holds.
type held struct {
	io.Reader
	whole  bool
	closed bool
}

func (h *held) Held() bool   { return h.whole }
func (h *held) Close() error { h.closed = true; return nil }

// A body that the engine holds is read where it is, and what the app leaves of it is read for
// nothing before the response is sent, so that the connection goes on.
func TestHandlerLeavesBodiesThatAreHeld(t *testing.T) {
	for _, whole := range []bool{true, false} {
		in := strings.NewReader("a body that is whole")
		r := httptest.NewRequest("POST", "/", nil)
		r.Body, r.ContentLength = &held{Reader: in, whole: whole}, int64(in.Len())
		app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if (in.Len() > 0) != whole {
				t.Errorf("held %t: %d bytes are left", whole, in.Len())
			}
			part := make([]byte, len("a body"))
			if _, err := io.ReadFull(r.Body, part); err != nil || string(part) != "a body" || r.ContentLength != 20 {
				t.Errorf("held %t: %q, %v, Content-Length %d", whole, part, err, r.ContentLength)
			}
			_, _ = io.WriteString(w, "answer")
		})
		recorder := httptest.NewRecorder()
		w := writerFunc{recorder, func() {
			if in.Len() > 0 {
				t.Errorf("held %t: the response is sent before the rest of the body is read", whole)
			}
		}}
		buffer.Handler(app, 0, slog.New(slog.DiscardHandler)).ServeHTTP(w, r)
		if recorder.Body.String() != "answer" {
			t.Errorf("held %t: %q", whole, recorder.Body)
		}
	}
}
