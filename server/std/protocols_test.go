package std_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/chaussette/chaussette/server/limits"
	"github.com/chaussette/chaussette/server/std"
)

// certificate is httptest's, for example.com, and a client that trusts it.
func certificate(t *testing.T) (*tls.Config, *http.Transport) {
	t.Helper()
	donor := httptest.NewTLSServer(http.NotFoundHandler())
	defer donor.Close()
	roots := donor.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return &tls.Config{Certificates: donor.TLS.Certificates},
		&http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"}}
}

func proto(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }

func get(t *testing.T, transport *http.Transport, url string) string {
	t.Helper()
	client := http.Client{Transport: transport, Timeout: patience}
	r, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestProtocols(t *testing.T) {
	for _, c := range []struct {
		name    string
		tls     bool
		noHTTP2 bool
		client  func(*http.Protocols)
		want    string
	}{
		{"HTTP/1.1", false, false, func(p *http.Protocols) { p.SetHTTP1(true) }, "HTTP/1.1"},
		{"HTTP/2 without TLS", false, false, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }, "HTTP/2.0"},
		{"HTTP/1.1 with TLS", true, false, func(p *http.Protocols) { p.SetHTTP1(true) }, "HTTP/1.1"},
		{"HTTP/2 with TLS", true, false, func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(true) }, "HTTP/2.0"},
		{"HTTP/2 left out", true, true, func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(true) }, "HTTP/1.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, transport, scheme := std.Options{NoHTTP2: c.noHTTP2}, &http.Transport{}, "http://"
			if c.tls {
				o.TLS, transport = certificate(t)
				scheme = "https://"
			}
			transport.Protocols = new(http.Protocols)
			c.client(transport.Protocols)
			defer transport.CloseIdleConnections()
			s := serve(t, proto, o)
			if got := get(t, transport, scheme+s.addr); got != c.want {
				t.Errorf("the app saw %s, want %s", got, c.want)
			}
		})
	}
}

// A draining engine tells clients of HTTP/2 to go (GOAWAY), and answers them before.
func TestDrainHTTP2(t *testing.T) {
	tlsConfig, transport := certificate(t)
	transport.ForceAttemptHTTP2 = true
	defer transport.CloseIdleConnections()
	s := serve(t, proto, std.Options{TLS: tlsConfig})
	get(t, transport, "https://"+s.addr)
	s.StartDraining()
	if got := get(t, transport, "https://"+s.addr); got != "HTTP/2.0" {
		t.Errorf("while draining: %q", got)
	}
	s.stop()
	if err := s.Drain(context.Background(), 0); err != nil {
		t.Errorf("Drain = %v", err)
	}
}

// A proxy in the app reads a body in another goroutine, after its handler has returned as
// well: what it proxies to has answered before. The worker ended by it, in HTTP/2.
func TestBodyReadAfterTheHandler(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		returned, read := make(chan bool), make(chan error, 1)
		s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
			go func() {
				<-returned
				_, err := r.Body.Read(make([]byte, 1))
				read <- err
			}()
		}, std.Options{})
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(!http2)
		transport.Protocols.SetUnencryptedHTTP2(http2)
		defer transport.CloseIdleConnections()
		body, send := io.Pipe()
		defer send.Close()
		client := http.Client{Transport: transport, Timeout: patience}
		r, err := client.Post("http://"+s.addr, "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		close(returned)
		if err := <-read; err == nil {
			t.Errorf("HTTP/2 %v: a body was read that is no more", http2)
		}
	}
}

func TestMaxConnectionsWithTLS(t *testing.T) {
	tlsConfig, transport := certificate(t)
	defer transport.CloseIdleConnections()
	s := serve(t, proto, std.Options{TLS: tlsConfig, Limits: limits.Limits{Connections: 1}})
	get(t, transport, "https://"+s.addr)
	other := transport.Clone()
	defer other.CloseIdleConnections()
	r, err := (&http.Client{Transport: other, Timeout: patience}).Get("https://" + s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != 503 {
		t.Errorf("the one too many got %d", r.StatusCode)
	}
}
