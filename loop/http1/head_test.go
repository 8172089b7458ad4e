//go:build linux

package http1

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// seeds are heads, good and bad.
var seeds = []string{
	"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
	"POST /a?b=c HTTP/1.1\r\nHost: x:80\r\nContent-Length: 5\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
	"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
	"GET / HTTP/1.1\nHost: x\n\n",
	"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551616\r\n\r\n",
	"GET http://h/p HTTP/1.1\r\nHost: x\r\n\r\n",
	"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\nExpect: 100-continue\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}

// FuzzHead: what comes byte by byte is understood as what comes at once; and a head that is
// accepted means the same to net/http, or is refused there for the reasons that
// docs/backends.md gives.
func FuzzHead(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var h, slow Head
		n, err := h.parse(b)
		m, slowErr := 0, error(nil)
		for i := 1; i <= len(b) && m == 0 && slowErr == nil; i++ {
			m, slowErr = slow.parse(b[:i])
		}
		if n != m || (err == nil) != (slowErr == nil) {
			t.Fatalf("at once %d, %v; byte by byte %d, %v", n, err, m, slowErr)
		}
		if err != nil || n == 0 {
			return
		}
		var r http.Request
		if err := newRequest(&r, new(url.URL), t.Context(), &h, b[:n], http.NoBody, ""); err != nil {
			return // of the target, and net/http has that from the same function
		}
		// net/http knows of no empty line before a request.
		theirs, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(bytes.TrimPrefix(b[:n], crlf))))
		if err != nil {
			if !stricter(&h, b[:n]) {
				t.Fatalf("net/http refuses %q: %v", b[:n], err)
			}
			return
		}
		if theirs.Method != r.Method || theirs.Host != r.Host || theirs.RequestURI != r.RequestURI || theirs.URL.String() != r.URL.String() ||
			theirs.ContentLength != r.ContentLength || len(theirs.TransferEncoding) != len(r.TransferEncoding) {
			t.Errorf("%q is %+v to net/http, %+v here", b[:n], theirs, &r)
		}
		for name, values := range theirs.Header {
			if got := r.Header[name]; strings.Join(got, "|") != strings.Join(values, "|") {
				t.Errorf("%q: %s is %q to net/http, %q here", b[:n], name, values, got)
			}
		}
	})
}

// stricter are the heads that net/http refuses and this package takes.
func stricter(h *Head, b []byte) bool {
	return h.Minor == 1 && !bytes.Contains(b, []byte("HTTP/1.1\r\n")) // HTTP/1.2 to 1.9, understood as 1.1
}

// Where the end of a body is in doubt there is an error.
func TestSmuggling(t *testing.T) {
	for _, fields := range []string{
		"Content-Length: 1\r\nContent-Length: 1\r\n", "Content-Length: 1, 1\r\n", "Content-Length: +1\r\n", "Content-Length: -1\r\n",
		"Content-Length: 1 \t1\r\n", "Content-Length:\r\n", "Content-Length: 0x1\r\n", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", "Transfer-Encoding: chunked, chunked\r\n", "Transfer-Encoding: identity\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: \x0bchunked\r\n", "Transfer-Encoding : chunked\r\n",
		" Transfer-Encoding: chunked\r\n", "X: y\r\n Transfer-Encoding: chunked\r\n", "X: y\rTransfer-Encoding: chunked\r\n",
		"X: y\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding\r\n", ": chunked\r\n", "X\x00: y\r\n", "X: \x00\r\n",
	} {
		var h Head
		if n, err := h.parse([]byte("POST / HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n")); err == nil {
			t.Errorf("%q is taken: %d, %+v", fields, n, h)
		}
	}
}
