package gorilla_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/gorilla"
	"github.com/chaussette/chaussette/ws/wstest"
)

func shut(t *testing.T, engine ws.Engine) {
	t.Helper()
	if err := engine.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// Without a word about it, a peer that is silent for 25 s is pinged, and cut when it has
// been silent for 20 s more.
func TestPingsByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := gorilla.New(nil)
		defer shut(t, engine)
		c, client := wstest.Pipe(t, engine, nil)
		r := wstest.NewRecorder(nil)
		c.Serve(r)
		start := time.Now()
		within := func(what string, after, late time.Duration) {
			t.Helper()
			if d := time.Since(start); d < after || d > after+late {
				t.Errorf("%s after %v, want %v", what, d, after)
			}
			start = time.Now()
		}
		time.Sleep(20 * time.Second)
		client.Expect(wstest.F(wstest.Ping, ""))
		within("the first ping", 25*time.Second, 4*time.Second)
		client.Frames(wstest.F(wstest.Pong, ""))
		time.Sleep(20 * time.Second)
		client.Expect(wstest.F(wstest.Ping, ""))
		within("the second ping", 25*time.Second, 4*time.Second)
		if err := <-r.Ended; !errors.Is(err, ws.ErrPongTimeout) || err.Code != ws.StatusAbnormal {
			t.Errorf("closed with %v", err)
		}
		within("the end", 20*time.Second, 4*time.Second)
	})
}

// A drain spreads the close frames: two milliseconds each, while half of the time is enough
// for that.
func TestDrainIsSpread(t *testing.T) {
	const connections = 500
	tests := []struct {
		name           string
		drains, within time.Duration // the time that the drain has, and should take
	}{
		{"enough time", 10 * time.Second, time.Second},
		{"little time", time.Second, time.Second / 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				engine := gorilla.New(nil)
				defer shut(t, engine)
				start := time.Now()
				var mu sync.Mutex
				var closed []time.Duration
				var clients sync.WaitGroup
				for range connections {
					c, client := wstest.Pipe(t, engine, nil)
					c.Serve(wstest.Echo{})
					clients.Go(func() {
						client.Expect(wstest.CloseFrame(ws.StatusServiceRestart, ""))
						mu.Lock()
						closed = append(closed, time.Since(start))
						mu.Unlock()
						client.Frames(wstest.CloseFrame(ws.StatusServiceRestart, ""))
					})
				}
				ctx, cancel := context.WithTimeout(t.Context(), test.drains)
				defer cancel()
				if err := ws.Drain(ctx, engine); err != nil {
					t.Error(err)
				}
				clients.Wait()
				slices.Sort(closed)
				if len(closed) != connections {
					t.Fatalf("%d were closed", len(closed))
				}
				for _, part := range []int{1, 2, 3, 4} {
					got := closed[connections*part/4-1]
					if want := test.within * time.Duration(part) / 4; got < want-test.within/8 || got > want+test.within/8 {
						t.Errorf("%d quarters were closed after %v, want %v", part, got, want)
					}
				}
			})
		})
	}
}
