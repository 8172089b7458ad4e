package http1_test

import (
	"io"
	"net/http"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/loop/http1"
)

// BenchmarkHello is what the engine adds to a request and its answer: on one connection, one
// after another.
func BenchmarkHello(b *testing.B) {
	for name, head := range map[string]string{
		"bare":    "GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n",
		"browser": browser,
	} {
		b.Run(name, func(b *testing.B) { hello(b, []byte(head)) })
	}
}

const browser = "GET /path/to?query=1 HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n" +
	"Connection: keep-alive\r\nCookie: session=0123456789abcdef\r\nUpgrade-Insecure-Requests: 1\r\nCache-Control: max-age=0\r\n\r\n"

var textPlain = []string{"text/plain; charset=utf-8"}

func hello(b *testing.B, request []byte) {
	s, err := http1.New(&http1.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = textPlain
		_, _ = io.WriteString(w, "hello world")
	})})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(pair[0])
	if err := unix.SetNonblock(pair[1], true); err != nil {
		b.Fatal(err)
	}
	if err := s.Take(pair[1], nil, nil); err != nil {
		b.Fatal(err)
	}
	answer := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := unix.Write(pair[0], request); err != nil {
			b.Fatal(err)
		}
		if _, err := unix.Read(pair[0], answer); err != nil {
			b.Fatal(err)
		}
	}
}
