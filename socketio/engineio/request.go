package engineio

import (
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// asked is what a request asks for, and how its answer has to look.
type asked struct {
	Exchange
	transport TransportName
	sid       SID
	eio       string
	jsonp     bool // the answer is a call of function number
	number    string
	text      bool    // binary as base64 (revision 3)
	leaves    bool    // 0.9: disconnect
	gzip      bool    // the client takes it
	more      []Field // of Options.Header
	foreign   bool    // it comes from a page: an answer depends on the origin
	origin    string  // of the page, if it may read the answer
}

// ask looks at x, which is of the revision 0.9 or of a later one. parameter is the one of
// the query that has the function's number.
func (srv *Server) ask(x Exchange, parameter string) *asked {
	a := &asked{Exchange: x, more: srv.more(x)}
	for rest := x.Query(); rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "transport":
			a.transport = TransportName(unescape(value))
		case "sid":
			a.sid = SID(unescape(value))
		case "EIO":
			a.eio = unescape(value)
		case parameter:
			a.number, a.jsonp = unescape(value), parameter != ""
		case "b64":
			a.text = true
		case "disconnect":
			a.leaves = true
		}
	}
	a.gzip = srv.options.CompressionThreshold >= 0 && acceptsGzip(x.Header("Accept-Encoding"))
	if origin := x.Header("Origin"); origin != "" {
		a.foreign = true
		if originAllowed(origin, srv.options.Origins) {
			a.origin = origin
		}
	}
	return a
}

// more is what Options.Header says.
func (srv *Server) more(x Exchange) []Field {
	if srv.options.Header == nil {
		return nil
	}
	var fields []Field
	for name, values := range srv.options.Header(x.Request()) {
		for _, v := range values {
			fields = append(fields, Field{name, v})
		}
	}
	return fields
}

// refused tells the app of what is refused.
func (srv *Server) refused(r func() *http.Request, err error) {
	if srv.options.Refused != nil {
		srv.options.Refused(r(), err)
	}
}

// unescape is for values that need it in no client that is known, and may.
func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	plain, err := url.QueryUnescape(s)
	if err != nil {
		return s
	}
	return plain
}

// upgrades tells whether the request asks for WebSocket.
func (a *asked) upgrades() bool {
	return httpguts.HeaderValuesContainsToken([]string{a.Header("Upgrade")}, "websocket")
}

// respond answers with the fields, those of the app, and those that the client's page
// needs.
func (a *asked) respond(status int, fields []Field, body []byte) {
	if len(a.more) > 0 {
		fields = append(fields[:len(fields):len(fields)], a.more...)
	}
	if a.foreign {
		fields = append(fields[:len(fields):len(fields)], Field{"Vary", "Origin"})
		if a.origin != "" {
			fields = append(fields, Field{"Access-Control-Allow-Origin", a.origin}, Field{"Access-Control-Allow-Credentials", "true"})
		}
	}
	a.Respond(status, fields, body)
}

var plainText = []Field{{"Content-Type", "text/plain; charset=utf-8"}, {"X-Content-Type-Options", "nosniff"}}

// unavailable answers 503.
func (a *asked) unavailable(srv *Server, err error) {
	srv.options.Logger.Warn("engine.io request refused", "reason", err, "remote", a.RemoteAddr())
	srv.refused(a.Request, err)
	a.respond(http.StatusServiceUnavailable, append([]Field{{"Retry-After", "5"}}, plainText...), []byte(err.Error()+"\n"))
}
