package engineio

import (
	"net/http"
	"net/url"
	"path"
	"strings"
)

// preflight answers a browser's question whether a page of another origin may make a
// request; others it leaves.
func (a *asked) preflight() (answered bool) {
	if !a.foreign || a.Method() != http.MethodOptions {
		return false
	}
	var fields []Field
	if a.origin != "" {
		fields = []Field{{"Access-Control-Allow-Methods", "GET, POST, OPTIONS"}, {"Access-Control-Max-Age", "600"}}
		if wanted := a.Header("Access-Control-Request-Headers"); wanted != "" {
			fields = append(fields, Field{"Access-Control-Allow-Headers", wanted})
		}
	}
	a.respond(http.StatusNoContent, fields, nil)
	return true
}

// AllowOrigin lets a page of another origin read an answer that is not the server's, but
// belongs to it, as Socket.IO's client bundle, if the origin is among Options.Origins.
func (srv *Server) AllowOrigin(h http.Header, r *http.Request) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return
	}
	h.Add("Vary", "Origin")
	if originAllowed(origin, srv.options.Origins) {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}

// originAllowed tells whether a pattern fits: "*", a whole origin, or a host, in which a
// star stands for one or more labels.
func originAllowed(origin string, patterns []string) bool {
	if len(patterns) == 0 {
		return false
	}
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	for _, p := range patterns {
		target := u.Host
		if strings.Contains(p, "://") {
			target = u.Scheme + "://" + u.Host
		}
		if p == "*" || strings.EqualFold(p, target) || strings.EqualFold(p, u.Hostname()) {
			return true
		}
		if ok, err := path.Match(strings.ToLower(p), strings.ToLower(target)); ok && err == nil {
			return true
		}
	}
	return false
}
