package http1

import (
	"context"
	"log/slog"
	"time"
)

// access is what the access log says of a request, kept until it is over.
type access struct {
	start                            time.Time
	method, uri, protocol, userAgent string
}

func newAccess(h *Head, raw []byte) *access {
	a := &access{start: time.Now(), method: string(h.method.of(raw)), uri: string(h.target.of(raw)), protocol: "HTTP/1.1"}
	if h.Minor == 0 {
		a.protocol = "HTTP/1.0"
	}
	for _, f := range h.fields {
		if equalFold(f.name.of(raw), "user-agent") {
			a.userAgent = string(f.value.of(raw))
		}
	}
	return a
}

func (a *access) write(log *slog.Logger, remote string, status int, size int64) {
	log.LogAttrs(context.Background(), slog.LevelInfo, "request",
		slog.String("remote", remote),
		slog.String("method", a.method),
		slog.String("uri", a.uri),
		slog.String("protocol", a.protocol),
		slog.Int("status", status),
		slog.Int64("bytes", size),
		slog.Duration("duration", time.Since(a.start)),
		slog.String("user-agent", a.userAgent),
	)
}
