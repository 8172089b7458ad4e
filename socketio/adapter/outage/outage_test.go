package outage_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter/outage"
)

// The log says when an outage begins and ends and what it has cost, in few lines.
func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := outage.New("redis", slog.New(slog.NewTextHandler(&log, nil)))
		want := func(text string, lines int) {
			t.Helper()
			if got := log.String(); !strings.Contains(got, text) || strings.Count(got, "\n") != lines {
				t.Errorf("%q is not in these %d lines:\n%s", text, lines, got)
			}
			log.Reset()
		}
		r.Back()
		want("redis is reached", 1)
		for range 100 {
			r.Away(errors.New("refused"))
		}
		want("redis is away", 1)
		for range 1000 {
			r.Lost(1)
		}
		want("", 0)
		time.Sleep(outage.Every)
		r.Lost(2)
		r.Lost(1)
		want("emits-lost=1002", 1)
		r.Back()
		r.Back()
		want("emits-lost=1003", 1)
		for range 100 {
			r.Bad("channel", errors.New("nonsense"))
		}
		want("channel=channel error=nonsense messages=1", 1)
		time.Sleep(outage.Every)
		r.Bad("channel", errors.New("nonsense"))
		want("messages=100", 1)
		if lost, bad := r.Totals(); lost != 1003 || bad != 101 {
			t.Errorf("%d lost, %d bad", lost, bad)
		}
		r.Close()
		r.Away(errors.New("closed"))
		want("", 0)
	})
}
