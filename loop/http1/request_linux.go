package http1

import (
	"context"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// newRequest makes r, with its URL in u, what a handler gets, with one copy of the head's bytes.
// The error is of a target that is no URL.
func newRequest(r *http.Request, u *url.URL, ctx context.Context, head *Head, raw []byte, body io.ReadCloser, remote string) error {
	text := string(raw)
	*r = http.Request{
		Method:     method(head.method.in(text)),
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: head.Minor,
		Host:       head.host.in(text),
		RequestURI: head.target.in(text),
		RemoteAddr: remote,
		Body:       body,
		Close:      !head.KeepAlive,
	}
	if head.Minor == 0 {
		r.Proto = "HTTP/1.0"
	}
	if err := target(u, r.Method, r.RequestURI); err != nil {
		return err
	}
	r.URL = u
	if u.Host != "" {
		r.Host = u.Host // RFC 9112, 3.2.2: the Host field is ignored
	}
	switch {
	case head.Length == Chunked:
		r.ContentLength = -1
		r.TransferEncoding = []string{"chunked"}
	default:
		r.ContentLength = head.Length
	}
	r.Header = header(head, raw, text)
	*r = *r.WithContext(ctx)
	return nil
}

// header makes a map of the fields. As net/http does, it leaves out what the Request says
// elsewhere.
func header(head *Head, raw []byte, text string) http.Header {
	h := make(http.Header, len(head.fields))
	var values []string
	for _, f := range head.fields {
		name := canonical(f.name.of(raw))
		if name == "Host" || name == "Transfer-Encoding" || name == "Trailer" && head.Length == Chunked {
			continue
		}
		value := f.value.in(text)
		if there, ok := h[name]; ok {
			h[name] = append(there, value)
			continue
		}
		if values == nil {
			values = make([]string, len(head.fields))
		}
		values[0] = value
		h[name] = values[:1:1]
		values = values[1:]
	}
	if pragma := h["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" && h["Cache-Control"] == nil {
		h["Cache-Control"] = []string{"no-cache"} // as net/http has it (RFC 7234, 5.4)
	}
	return h
}

// canonical is a field's name as http.Header has it.
func canonical(name []byte) string {
	if known, ok := names[string(name)]; ok {
		return known
	}
	return textproto.CanonicalMIMEHeaderKey(string(name))
}

// names are those that browsers and proxies send, as they are written, by which no memory
// is needed for them.
var names = func() map[string]string {
	all := map[string]string{}
	for name := range strings.FieldsSeq(`Accept Accept-Charset Accept-Encoding Accept-Language
		Authorization Cache-Control Connection Content-Length Content-Type Cookie Dnt Expect Forwarded
		Host If-Match If-Modified-Since If-None-Match If-Range If-Unmodified-Since Keep-Alive
		Origin Pragma Priority Range Referer Sec-Ch-Ua Sec-Ch-Ua-Mobile Sec-Ch-Ua-Platform
		Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Sec-Websocket-Extensions
		Sec-Websocket-Key Sec-Websocket-Protocol Sec-Websocket-Version Te Transfer-Encoding Upgrade
		Upgrade-Insecure-Requests User-Agent Via X-Csrftoken X-Forwarded-For X-Forwarded-Host
		X-Forwarded-Proto X-Real-Ip X-Request-Id X-Requested-With`) {
		all[name] = name
		all[strings.ToLower(name)] = name
	}
	all["Sec-WebSocket-Key"] = "Sec-Websocket-Key"
	all["Sec-WebSocket-Version"] = "Sec-Websocket-Version"
	all["Sec-WebSocket-Extensions"] = "Sec-Websocket-Extensions"
	all["Sec-WebSocket-Protocol"] = "Sec-Websocket-Protocol"
	all["DNT"] = "Dnt"
	return all
}()

func method(m string) string {
	switch m { // those that keep no head alive
	case http.MethodGet:
		return http.MethodGet
	case http.MethodPost:
		return http.MethodPost
	}
	return m
}

// target parses one (RFC 9112, 3.2) into u.
func target(u *url.URL, method, uri string) error {
	path, query, any := strings.Cut(uri, "?")
	plain := len(path) > 0 && path[0] == '/'
	for i := 0; plain && i < len(path); i++ {
		plain = isPlain[path[i]]
	}
	switch {
	case plain: // as url.ParseRequestURI would have it
		*u = url.URL{Path: path, RawQuery: query, ForceQuery: any && query == ""}
		return nil
	case method == http.MethodConnect && !strings.HasPrefix(uri, "/"):
		parsed, err := url.ParseRequestURI("http://" + uri)
		if err == nil {
			parsed.Scheme = ""
			*u = *parsed
		}
		return err
	}
	parsed, err := url.ParseRequestURI(uri)
	if err == nil {
		*u = *parsed
	}
	return err
}

// isPlain are the characters of a path that mean themselves.
var isPlain = func() (plain [256]bool) {
	for c := range plain {
		plain[c] = '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	for _, c := range "-_.~/" {
		plain[c] = true
	}
	return plain
}()
