//go:build linux

package epoll

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

const sampleShake = "GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// FuzzShake: a request that is taken for a handshake has no body, for what comes after it is
// read as frames; and an ordinary handshake is taken for one.
func FuzzShake(f *testing.F) {
	f.Add([]byte(sampleShake))
	for _, field := range []string{"Content-Length: 5", "content-length : 5", "Transfer-Encoding: chunked", "Transfer-Encoding:\tchunked", " Content-Length: 5", "Upgrade: h2c", "Host: b", "X:\r\n y"} {
		f.Add([]byte(strings.Replace(sampleShake, "\r\n\r\n", "\r\n"+field+"\r\n\r\n", 1)))
	}
	f.Add([]byte(strings.ReplaceAll(sampleShake, "\r\n", "\n") + "\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\nContent-Length: 5\n\nUpgrade: websocket\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		end := bytes.Index(b, emptyRow)
		if end < 0 {
			return
		}
		head := b[:end+len(emptyRow)]
		if !bytes.HasPrefix(head, get) || !asksForWebSocket(head[:end+2]) {
			return
		}
		r, err := readRequest(head)
		if err != nil {
			return
		}
		if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
			t.Errorf("%q has a body of %d bytes, %v", head, r.ContentLength, r.TransferEncoding)
		}
		if lines := bytes.Split(head[:end], []byte("\n")); slices.ContainsFunc(lines, func(l []byte) bool { return len(bytes.TrimRight(l, "\r")) == 0 }) {
			t.Errorf("%q ends before its end", head)
		}
	})
	if !asksForWebSocket([]byte(sampleShake)) {
		f.Error("the handshake is not known")
	}
}
