//go:build linux

package http1_test

import (
	"net/http"
	"testing"

	"github.com/chaussette/chaussette/listener"
	"github.com/chaussette/chaussette/loop/http1"
	"github.com/chaussette/chaussette/server/enginetest"
)

// onListener is a Server as the suite wants it.
type onListener struct{ *http1.Server }

func (s onListener) Serve(l *listener.Listener) error { return s.Server.Serve(l) }

func open(t *testing.T, app http.Handler, o enginetest.Options) enginetest.Engine {
	s, err := http1.New(&http1.Options{Handler: app, Limits: o.Limits, Hold: o.Hold, HoldTotal: o.HoldTotal, AccessLog: o.AccessLog, Log: o.Log})
	if err != nil {
		t.Fatal(err)
	}
	return onListener{s}
}

func TestEngine(t *testing.T) { enginetest.Run(t, open, differs) }

// differs is where this engine answers otherwise than net/http.
var differs = enginetest.Differences{
	"lines that end with LF alone": {
		"bare LF":                   "400",
		"a field behind a bare LF":  "400",
		"trailer that ends with LF": "500",
	},
	"an empty line before the request line": {"an empty line first": "200"},
	"Content-Length and Transfer-Encoding": {
		"content length and transfer encoding":    "400",
		"transfer encoding before content length": "400",
	},
	"Content-Length twice, with one value": {"two content lengths that agree": "400"},
	"Transfer-Encoding in HTTP/1.0":        {"transfer encoding in HTTP/1.0": "400"},
	"Transfer-Encoding twice":              {"transfer encoding twice": "400"},
	"a field that is folded":               {"a field folded with its value": "400"},
	"a chunk of 2^60 bytes":                {"chunk of the largest size there is": "500"},
	"a chunk extension": {
		"chunk extension behind a tab":             "200",
		"chunk extension with a control character": "500",
	},
	"a trailer that is folded": {
		"trailer that is folded":                "500",
		"trailer with a space before the colon": "500",
	},
	"the beginning of HTTP/2": {"HTTP/2 with a body like a request": "505"},
	"HTTP/1.2 to 1.9":         {"a later HTTP/1": `200 length 8 "HTTP/1.1"|open`},
	"HTTP/1.0": {
		"the version of an answer to HTTP/1.0": "version HTTP/1.1|closed",
	},
	"keep-alive and close": {"HTTP/1.0 with keep-alive and close": `200 length 3 close "abc"|closed`},
	"a request in chunks": {
		"a body in chunks":                   `200 length 13 "\"hello world\""|open`,
		"a body in chunks that nobody reads": `200 length 0 ""|open`,
		"one behind a body in chunks":        `200 length 0 ""|200 length 1 "a"|open`,
	},
	"a head up to 4 KiB larger": {"header a little too large": "431"},
	"a read of the body after":  {"a body that is read late": `200 chunked "early, \"hello\" false"|open`},
	"trailers of a request":     {"trailers of a request": `200 length 23 "\"hello\" map[] \"\" \"\" end"|open`},
	"`Expect: 100-continue`, and the body is there": {
		"100-continue":                   `200 length 7 "\"hello\""|open`,
		"100-Continue, among others":     `200 length 7 "\"hello\""|open`,
		"100-continue, and nobody reads": `200 length 0 ""|open`,
	},
	"a body that has not come":                 {"a body that nobody reads, and that does not come": `200 length 0 ""|closed`},
	"a response without Content-Length":        {"an answer that is long to one engine": `200 length 3000 3000 bytes|open`},
	"an app that writes more than it declared": {"more than declared": `200 length 2 "ab"|open`},
	"an app that sets what is the connection's": {
		"an app that keeps the connection": `200 length 1 "x"|open`,
		"an app that encodes":              `200 length 1 "x"|open`,
	},
	"a NUL in a field of a response": {"a NUL in a field": `200 length 1 X-Nul: a b "x"|open`},
}
