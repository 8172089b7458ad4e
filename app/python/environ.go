package python

import (
	"strings"
	"sync"

	"github.com/chaussette/chaussette/app/python/marshal"
)

// shared is a str that nearly every environ has. A frame with requests begins with all of
// them, and refers to them, so that the child makes each once for all of a batch.
type shared uint8

const (
	keyMethod shared = iota
	keyPath
	keyQuery
	keyRequestURI
	keyRawURI
	keyProtocol
	keyScheme
	keyServerName
	keyServerPort
	keyRemoteAddr
	keyRemotePort
	keyHost
	valueGET
	valueHTTP11
	valueHTTP
	valueEmpty
)

var sharedStrs = [...]string{
	keyMethod: "REQUEST_METHOD", keyPath: "PATH_INFO", keyQuery: "QUERY_STRING", keyRequestURI: "REQUEST_URI", keyRawURI: "RAW_URI",
	keyProtocol: "SERVER_PROTOCOL", keyScheme: "wsgi.url_scheme", keyServerName: "SERVER_NAME", keyServerPort: "SERVER_PORT",
	keyRemoteAddr: "REMOTE_ADDR", keyRemotePort: "REMOTE_PORT", keyHost: "HTTP_HOST",
	valueGET: "GET", valueHTTP11: "HTTP/1.1", valueHTTP: "http", valueEmpty: "",
}

// sharedPreamble is what a frame with requests begins with.
var sharedPreamble = string(marshal.AppendShared(nil, sharedStrs[:]))

// Environ collects the part of a request's environ that differs from request to request.
// The zero value is ready; it may be used again after Reset. One goroutine at a time.
//
// What is the same for all (wsgi.version, wsgi.errors, SCRIPT_NAME...) the child adds.
type Environ struct {
	b []byte
}

// Reset empties e and keeps its memory.
func (e *Environ) Reset() { e.b = marshal.OpenDict(e.b[:0]) }

// Set adds one entry. key is ASCII and at most 255 bytes long; value holds one character
// a byte (PEP 3333). The last entry of a key counts.
func (e *Environ) Set(key, value string) {
	e.b = marshal.AppendLatin1(marshal.AppendKey(e.b, key), value)
}

// set is Set for a key that all requests have, whose value is often the usual one.
func (e *Environ) set(key shared, value string, usual shared) {
	e.b = marshal.AppendRef(e.b, int(key))
	if value == sharedStrs[usual] {
		e.b = marshal.AppendRef(e.b, int(usual))
		return
	}
	e.b = marshal.AppendLatin1(e.b, value)
}

// Header adds the request header name as HTTP_NAME, CONTENT_TYPE or CONTENT_LENGTH. A
// header that was repeated comes joined by the caller. Names which could pass for
// another header once they are in an environ are left out: those with an underscore,
// and Proxy, which programs read as HTTP_PROXY (CVE-2016-5385).
func (e *Environ) Header(name, value string) {
	if key, ok := environKeys[name]; ok {
		e.b = marshal.AppendLatin1(append(e.b, key...), value)
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
	e.b = append(e.b, 'Z', byte(len(key)))
	e.b = append(e.b, key...)
	e.b = marshal.AppendLatin1(e.b, value)
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
	keys["Host"] = string(marshal.AppendRef(nil, int(keyHost)))
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
