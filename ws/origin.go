package ws

import (
	"net/http"
	"net/url"
	"path"
	"strings"
)

// OriginAllowed reports whether the page that sent r may connect: it comes from r's own
// host, from one of the patterns, or from no page at all (RFC 6454, RFC 6455 10.2). The
// scheme of r's host is not known behind a proxy and does not count.
func OriginAllowed(r *http.Request, patterns []string) bool {
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		return true
	}
	for _, pattern := range patterns {
		if pattern == "*" {
			return true
		}
	}
	if len(origins) > 1 {
		return false
	}
	origin, err := url.Parse(strings.ToLower(origins[0]))
	if err != nil || origin.Host == "" {
		return false // "null", too: a sandboxed page or a file
	}
	host := withoutDefaultPort(origin.Scheme, origin.Host)
	if host == withoutDefaultPort(origin.Scheme, strings.ToLower(r.Host)) {
		return true
	}
	for _, pattern := range patterns {
		scheme, wanted, hasScheme := strings.Cut(strings.ToLower(pattern), "://")
		if !hasScheme {
			wanted = scheme
		} else if scheme != origin.Scheme {
			continue
		}
		if matched, _ := path.Match(withoutDefaultPort(origin.Scheme, wanted), host); matched {
			return true
		}
	}
	return false
}

func withoutDefaultPort(scheme, host string) string {
	switch scheme {
	case "http":
		return strings.TrimSuffix(host, ":80")
	case "https":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}

// CheckOrigins returns an error for the first pattern that cannot be one.
func CheckOrigins(patterns []string) error {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil {
			return &url.Error{Op: "origin pattern", URL: pattern, Err: err}
		}
	}
	return nil
}
