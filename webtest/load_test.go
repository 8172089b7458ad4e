package webtest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chaussette/chaussette/webtest"
)

// load is clients that ask a pool for its hello world, one request after another. Not
// one may fail: neither is a request repeated by the client.
type load struct {
	t        *testing.T
	cancel   context.CancelFunc
	clients  sync.WaitGroup
	requests atomic.Int64
	failed   atomic.Int64
}

// startLoad starts clients with a connection each that they keep, and clients that
// connect anew for each request.
func startLoad(t *testing.T, pool *webtest.Pool, keepAlive, anew int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{t: t, cancel: cancel}
	for i := range keepAlive + anew {
		client := pool.Client(i < keepAlive)
		l.clients.Go(func() {
			for ctx.Err() == nil {
				if err := l.ask(ctx, client); err != nil && ctx.Err() == nil {
					l.failed.Add(1)
					t.Errorf("a request failed: %v", err)
					return
				}
			}
		})
	}
	return l
}

func (l *load) ask(ctx context.Context, client *http.Client) error {
	// A POST with a body that cannot be read twice: net/http does not repeat it on
	// another connection when the first turns out to be closed.
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://pool/", io.LimitReader(strings.NewReader("once"), 4))
	if err != nil {
		return err
	}
	r.ContentLength = 4
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != 200 || string(body) != "hello world" {
		return fmt.Errorf("%s %q %w", answer.Status, body, err)
	}
	l.requests.Add(1)
	return nil
}

// stop ends the clients, and returns how many requests were answered.
func (l *load) stop() int {
	l.cancel()
	l.clients.Wait()
	return int(l.requests.Load())
}
