package python

import (
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/chaussette/chaussette/app/python/marshal"
)

// The usual values of an environ. A child is told them once, and each request gives what is
// not usual about it.
const (
	usualMethod   = http.MethodGet
	usualQuery    = ""
	usualProtocol = "HTTP/1.1"
	usualScheme   = "http"
)

// appendUsual appends the body of the frame that tells a child what is usual.
func appendUsual(b []byte, at *addressName) []byte {
	b = marshal.OpenDict(b)
	for _, entry := range [...][2]string{
		{"REQUEST_METHOD", usualMethod}, {"QUERY_STRING", usualQuery}, {"SERVER_PROTOCOL", usualProtocol}, {"wsgi.url_scheme", usualScheme},
		{"SERVER_NAME", at.name}, {"SERVER_PORT", at.port},
		// These are of each request. They keep the room.
		{"PATH_INFO", ""}, {"REQUEST_URI", ""}, {"RAW_URI", ""}, {"REMOTE_ADDR", ""},
	} {
		b = marshal.AppendLatin1(marshal.AppendKey(b, entry[0]), entry[1])
	}
	return marshal.CloseDict(b)
}

// Environ collects what is not usual in a request's environ. It may be used again after
// Reset. One goroutine at a time.
//
// What is the same for all (wsgi.version, wsgi.errors, SCRIPT_NAME...) the child adds, and
// what is usual where it is not given: a GET for http without a query, of HTTP/1.1, to the
// name and port that the first request came to. RAW_URI is what REQUEST_URI is.
type Environ struct {
	line  []byte // what all requests have, in a fixed order: see doc.go
	given []byte // the rest
}

// Reset empties e and keeps its memory.
func (e *Environ) Reset() { e.reset("", "", "", "", "") }

// reset empties e but for what all requests have. An empty port or host is none.
func (e *Environ) reset(path, target, address, port, host string) {
	e.given = marshal.OpenDict(e.given[:0])
	e.line = marshal.AppendLatin1(marshal.AppendLatin1(marshal.AppendLatin1(e.line[:0], path), target), address)
	e.line = appendUnlessEmpty(appendUnlessEmpty(e.line, port), host)
}

func appendUnlessEmpty(b []byte, s string) []byte {
	if s == "" {
		return marshal.AppendNone(b)
	}
	return marshal.AppendLatin1(b, s)
}

// append appends all of e, as an item has it.
func (e *Environ) append(b []byte) []byte {
	b = append(b, e.line...)
	if len(e.given) <= len(marshal.OpenDict(nil)) {
		return marshal.AppendNone(b)
	}
	return marshal.CloseDict(append(b, e.given...))
}

// Set adds one entry. key is ASCII and at most 255 bytes long; value holds one character
// a byte (PEP 3333). The last entry of a key counts.
func (e *Environ) Set(key, value string) {
	e.given = marshal.AppendLatin1(marshal.AppendKey(e.given, key), value)
}

// setUnless is Set where value is not the usual one.
func (e *Environ) setUnless(usual, key, value string) {
	if value != usual {
		e.Set(key, value)
	}
}

// requestLine is what every request says, or comes with.
type requestLine struct {
	method, path, query, target, protocol, scheme, host string
	local                                               net.Addr
	remote                                              string // host:port; anything else is no address
}

// begin empties e and adds l, for the child c.
func (e *Environ) begin(l *requestLine, c *child) {
	path := l.path
	if s := strings.TrimRight(c.opts.ScriptName, "/"); s != "" {
		if rest, ok := strings.CutPrefix(path, s); ok && (rest == "" || rest[0] == '/') {
			path = rest
		}
	}
	var address, port string // a Unix socket's client has none
	if i := strings.LastIndexByte(l.remote, ':'); i > 0 {
		address, port = strings.Trim(l.remote[:i], "[]"), l.remote[i+1:]
	}
	e.reset(path, l.target, address, port, l.host)
	e.setUnless(usualMethod, "REQUEST_METHOD", l.method)
	e.setUnless(usualQuery, "QUERY_STRING", l.query)
	e.setUnless(usualProtocol, "SERVER_PROTOCOL", l.protocol)
	e.setUnless(usualScheme, "wsgi.url_scheme", l.scheme)
	name, at := c.serverName(l.local, l.host, l.scheme)
	usual := c.usualAt(name, at)
	e.setUnless(usual.name, "SERVER_NAME", name)
	e.setUnless(usual.port, "SERVER_PORT", at)
}

// Header adds the request header name as HTTP_NAME, CONTENT_TYPE or CONTENT_LENGTH. A
// header that was repeated comes joined by the caller. Names which could pass for
// another header once they are in an environ are left out: those with an underscore,
// and Proxy, which programs read as HTTP_PROXY (CVE-2016-5385).
func (e *Environ) Header(name, value string) {
	if key, ok := environKeys[name]; ok {
		e.given = marshal.AppendLatin1(append(e.given, key...), value)
		return
	}
	var buf [255]byte
	key := append(buf[:0], "HTTP_"...)
	if len(name) > 250 {
		return
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		case c == '-':
			c = '_'
		case c == '_' || c >= 0x80:
			return
		}
		key = append(key, c)
	}
	switch string(key) {
	case "HTTP_PROXY":
		return
	case "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH":
		key = key[len("HTTP_"):]
	}
	e.Set(textOf(key), value)
}

// environKeys holds the marshalled keys of the headers that browsers and proxies send,
// by canonical name.
var environKeys = func() map[string]string {
	keys := make(map[string]string)
	for name := range strings.FieldsSeq(`
		Accept Accept-Charset Accept-Encoding Accept-Language Authorization Cache-Control
		Connection Cookie Dnt Expect Forwarded From Host If-Match If-Modified-Since
		If-None-Match If-Range If-Unmodified-Since Keep-Alive Origin Pragma Priority Range
		Referer Sec-Ch-Ua Sec-Ch-Ua-Mobile Sec-Ch-Ua-Platform Sec-Fetch-Dest
		Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Te Upgrade Upgrade-Insecure-Requests
		User-Agent Via X-Csrftoken X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto
		X-Real-Ip X-Request-Id X-Requested-With`) {
		key := "HTTP_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		keys[name] = string(marshal.AppendKey(nil, key))
	}
	for name, key := range keys {
		keys[strings.ToLower(name)] = key
	}
	keys["DNT"] = keys["Dnt"]
	keys["Content-Type"] = string(marshal.AppendKey(nil, "CONTENT_TYPE"))
	keys["Content-Length"] = string(marshal.AppendKey(nil, "CONTENT_LENGTH"))
	keys["content-type"], keys["content-length"] = keys["Content-Type"], keys["Content-Length"]
	return keys
}()

var environPool = sync.Pool{New: func() any { return new(Environ) }}
