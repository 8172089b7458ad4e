package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	wt "github.com/quic-go/webtransport-go"

	"github.com/chaussette/chaussette/internal/certtest"
	"github.com/chaussette/chaussette/server"
	"github.com/chaussette/chaussette/socketio"
)

// events is an app of Socket.IO.
type events struct{ http.Handler }

func (events) RegisterSocketIO(io *socketio.Server) {
	io.On("say", func(text string) string { return "you said " + text })
}

// A worker serves WebTransport beside the rest, and ends its sessions when it drains.
func TestWebTransport(t *testing.T) {
	file, trusted := certtest.Get().File(t), certtest.Get().Pool()
	log := newLogBuffer()
	w, err := server.New(events{http.NotFoundHandler()}, server.Config{
		Address: "127.0.0.1:0", Backend: "socketio", CertFile: file, WebTransport: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	tcp := log.wait(t, `Serving on https?://(127\S*:\d+)|Serving on (127\S*:\d+)`)
	udp := log.wait(t, `WebTransport on udp://(127\S*:\d+)`)[1]
	log.wait(t, "as a backend")

	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}, DisableKeepAlives: true}}
	r, err := client.Get("https://" + tcp[1] + tcp[2] + "/socket.io/?EIO=4&transport=polling")
	if err != nil {
		t.Fatal(err)
	}
	opened, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil || !strings.Contains(string(opened), `"upgrades":["websocket","webtransport"]`) {
		t.Errorf("%s %v", opened, err)
	}

	dialing, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	d := &wt.Dialer{TLSClientConfig: &tls.Config{RootCAs: trusted, NextProtos: []string{http3.NextProtoH3}}}
	defer d.Close()
	_, session, err := d.Dial(dialing, "https://"+udp+"/socket.io/", nil)
	if err != nil {
		t.Fatal(err)
	}
	st, err := session.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	_ = st.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(st, "\x010\x0240\x0e"+`420["say","x"]`); err != nil {
		t.Fatal(err)
	}
	var all []byte
	for !strings.Contains(string(all), "you said x") {
		b := make([]byte, 1000)
		n, err := st.Read(b)
		if err != nil {
			t.Fatalf("%q, and then %v", all, err)
		}
		all = append(all, b[:n]...)
	}
	stop()
	<-session.Context().Done()
	var end *wt.SessionError
	if _, err := session.AcceptStream(t.Context()); !errors.As(err, &end) || !end.Remote || end.ErrorCode != 0 {
		t.Errorf("the client gets %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run = %v", err)
	}
	if c, err := net.ListenPacket("udp", udp); err != nil {
		t.Errorf("the socket is open after the end: %v", err)
	} else {
		_ = c.Close()
	}
}

// What is wrong with --webtransport is said before anything is served.
func TestWebTransportConfig(t *testing.T) {
	file := certtest.Get().File(t)
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		name   string
		app    http.Handler
		config server.Config
		status int
		want   string
	}{
		{"no TLS", events{}, server.Config{Backend: "socketio", WebTransport: ":443"}, 2, "--certfile"},
		{"another backend", events{}, server.Config{Backend: "ws4py", CertFile: file, WebTransport: ":443"}, 2, "--backend socketio, not ws4py"},
		{"no port", events{}, server.Config{Backend: "socketio", CertFile: file, WebTransport: "localhost"}, 2, "host:port"},
		{"no such port", events{}, server.Config{Backend: "socketio", CertFile: file, WebTransport: ":65536"}, 2, "host:port"},
		{"no events", http.NotFoundHandler(), server.Config{Backend: "socketio", CertFile: file, WebTransport: "127.0.0.1:0"}, 2, "registers no Socket.IO events"},
		{"taken", events{}, server.Config{Backend: "socketio", CertFile: file, WebTransport: taken.LocalAddr().String()}, 3, syscall.EADDRINUSE.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.config.Address, c.config.Log = "127.0.0.1:0", slog.New(slog.DiscardHandler)
			w, err := server.New(c.app, c.config)
			if err == nil {
				err = w.Run(t.Context())
			}
			if err == nil || server.ExitStatus(err) != c.status || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--webtransport") {
				t.Errorf("%v (exit status %d), want %q", err, server.ExitStatus(err), c.want)
			}
		})
	}
}
