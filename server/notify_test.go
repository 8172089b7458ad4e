package server_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/chaussette/chaussette/server"
)

func TestSystemdIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	expect := func(want string) {
		t.Helper()
		_ = systemd.SetReadDeadline(time.Now().Add(20 * time.Second))
		b := make([]byte, 100)
		if n, err := systemd.Read(b); err != nil || string(b[:n]) != want {
			t.Errorf("systemd was told %q, %v; want %q", b[:n], err, want)
		}
	}
	t.Setenv("NOTIFY_SOCKET", path)
	w, err := server.New(http.NotFoundHandler(), server.Config{Address: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	expect("READY=1")
	stop()
	expect("STOPPING=1")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
