package gate_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/chaussette/chaussette/server/gate"
)

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const running, queue = 2, 3
		var mu sync.Mutex
		now, most := 0, 0
		count := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			now += n
			most = max(most, now)
		}
		var refused atomic.Int64
		open := make(chan struct{})
		app := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			count(1)
			<-open
			count(-1)
		})
		h := gate.New(running, queue).Handler(app, func(*http.Request) { refused.Add(1) })
		codes := make(chan int, running+queue+1)
		var requests sync.WaitGroup
		for range running + queue {
			requests.Go(func() { codes <- serve(h, httptest.NewRequest("GET", "/", nil)).Code })
		}
		synctest.Wait() // two run, three wait
		if r := serve(h, httptest.NewRequest("GET", "/", nil)); r.Code != 503 || r.Header().Get("Retry-After") == "" {
			t.Errorf("the one too many got %d %v, want 503 with Retry-After", r.Code, r.Header())
		}
		close(open)
		requests.Wait()
		close(codes)
		for code := range codes {
			if code != 200 {
				t.Errorf("a request that waited got %d", code)
			}
		}
		if most != running || refused.Load() != 1 {
			t.Errorf("%d ran at once and %d were refused, want %d and 1", most, refused.Load(), running)
		}
	})
}

func TestGateClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate.New(1, 1)
		if err := g.Enter(nil); err != nil {
			t.Fatal(err)
		}
		gone := make(chan struct{})
		left := make(chan error)
		go func() { left <- g.Enter(gone) }()
		synctest.Wait()
		close(gone)
		if err := <-left; err != http.ErrAbortHandler {
			t.Errorf("Enter = %v", err)
		}
		g.Leave()
		if err := g.Enter(nil); err != nil {
			t.Errorf("the place of one that left was not free: %v", err)
		}
	})
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
