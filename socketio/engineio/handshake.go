package engineio

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// handshake is the request that began a session, as text: a header map costs more.
type handshake struct {
	head   string
	remote string
}

func newHandshake(r *http.Request) *handshake {
	var b strings.Builder
	uri := r.RequestURI
	if uri == "" {
		uri = r.URL.RequestURI()
	}
	b.WriteString(r.Method)
	b.WriteString(" ")
	b.WriteString(uri)
	b.WriteString(" HTTP/1.1\r\nHost: ")
	b.WriteString(r.Host)
	b.WriteString("\r\n")
	for name, values := range r.Header {
		for _, v := range values {
			b.WriteString(name)
			b.WriteString(": ")
			b.WriteString(v)
			b.WriteString("\r\n")
		}
	}
	b.WriteString("\r\n")
	return &handshake{b.String(), r.RemoteAddr}
}

func (h *handshake) request() *http.Request {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(h.head)))
	if err != nil { // it came over HTTP/2 with what HTTP/1.1 does not have
		r = &http.Request{Method: http.MethodGet, Header: http.Header{}}
	}
	r.Body = http.NoBody
	r.RemoteAddr = h.remote
	return r
}

// open is the data of the open packet.
func (srv *Server) open(s *Session, upgrades bool) []byte {
	terms := srv.terms
	switch {
	case !upgrades:
	case s.revision == Revision4:
		terms = srv.terms4
	default:
		terms = srv.terms3
	}
	b := make([]byte, 0, len(`{"sid":""`)+len(s.id)+len(terms))
	b = append(append(b, `{"sid":"`...), s.id...)
	return append(b, terms...)
}

// upgrades are the transports that a session on polling may upgrade to.
func (srv *Server) upgrades(r Revision) []TransportName {
	var names []TransportName
	if srv.options.NoUpgrade {
		return nil
	}
	if srv.serves(WebSocket) {
		names = append(names, WebSocket)
	}
	if srv.serves(WebTransport) && r == Revision4 {
		names = append(names, WebTransport)
	}
	return names
}

// openTerms is what follows the id in the data of an open packet.
func openTerms(o *Options, upgrades ...TransportName) string {
	data, _ := json.Marshal(struct {
		Upgrades     []TransportName `json:"upgrades"`
		PingInterval int64           `json:"pingInterval"`
		PingTimeout  int64           `json:"pingTimeout"`
		MaxPayload   int64           `json:"maxPayload"`
	}{append([]TransportName{}, upgrades...), o.PingInterval.Milliseconds(), o.PingTimeout.Milliseconds(), o.MaxPayload})
	return `",` + string(data[1:])
}

func (srv *Server) newSession(r *http.Request, revision Revision, value any) *Session {
	return &Session{
		server: srv, id: SID(srv.NewID()), value: value, revision: revision,
		began: time.Now().UnixMilli(), secure: r.TLS != nil,
	}
}

// cookie is the header field that sets Options.Cookie, or none.
func (srv *Server) cookie(id SID) []Field {
	if srv.options.Cookie == nil {
		return nil
	}
	c := *srv.options.Cookie
	if c.Name == "" {
		c.Name = "io"
	}
	if c.Path == "" {
		c.Path = "/"
	}
	if c.SameSite == 0 {
		c.SameSite = http.SameSiteLaxMode
	}
	c.HttpOnly = true
	c.Value = string(id)
	return []Field{{"Set-Cookie", c.String()}}
}

// randomID returns n characters with 6 random bits each.
func randomID(n int) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	b := make([]byte, n)
	_, _ = rand.Read(b)
	for i := range b {
		b[i] = alphabet[b[i]&63]
	}
	return string(b)
}
