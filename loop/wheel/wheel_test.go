package wheel_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaussette/chaussette/loop/wheel"
)

// alarm notes when it was due.
type alarm struct {
	wheel.Timer
	mu   sync.Mutex
	at   []time.Duration
	from time.Time
	then func()
}

func newAlarm() *alarm { return &alarm{from: time.Now()} }

func (a *alarm) Expire(*wheel.Timer) {
	a.mu.Lock()
	a.at = append(a.at, time.Since(a.from))
	a.mu.Unlock()
	if a.then != nil {
		a.then()
	}
}

func (a *alarm) times() []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at
}

// take returns when it was due, and forgets it.
func (a *alarm) take() []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.at
	a.at = nil
	return at
}

// turning calls f in a bubble of fake time in which a wheel turns.
func turning(t *testing.T, f func(t *testing.T, w *wheel.Wheel)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := wheel.New()
		go w.Run(ctx)
		f(t, w)
	})
}

func TestDueInTime(t *testing.T) {
	delays := []time.Duration{0, time.Millisecond, wheel.Tick, 15 * time.Millisecond, time.Second, 40 * time.Second,
		41 * time.Second, 5 * time.Minute, 3 * time.Hour, 49 * time.Hour}
	turning(t, func(t *testing.T, w *wheel.Wheel) {
		alarms := make([]*alarm, len(delays))
		for i, d := range delays {
			alarms[i] = newAlarm()
			w.Set(&alarms[i].Timer, alarms[i], d, 0)
		}
		time.Sleep(50 * time.Hour)
		for i, d := range delays {
			got := alarms[i].times()
			if len(got) != 1 || got[0] < d || got[0] > d+2*wheel.Tick {
				t.Errorf("set to %v, was due at %v", d, got)
			}
		}
		if w.Len() != 0 {
			t.Errorf("%d timers are left", w.Len())
		}
	})
}

func TestEarlierTimerWakesTheWheel(t *testing.T) {
	turning(t, func(t *testing.T, w *wheel.Wheel) {
		late, early := newAlarm(), newAlarm()
		w.Set(&late.Timer, late, time.Hour, 0)
		synctest.Wait()
		w.Set(&early.Timer, early, time.Second, 0)
		time.Sleep(2 * time.Second)
		if got := early.times(); len(got) != 1 {
			t.Errorf("due at %v, want once after a second", got)
		}
		w.Stop(&late.Timer)
	})
}

func TestMoveAndStop(t *testing.T) {
	turning(t, func(t *testing.T, w *wheel.Wheel) {
		moved, stopped := newAlarm(), newAlarm()
		w.Set(&moved.Timer, moved, time.Second, 0)
		w.Set(&stopped.Timer, stopped, time.Second, 0)
		w.Set(&moved.Timer, moved, time.Minute, 0)
		if !w.Stop(&stopped.Timer) || w.Stop(&stopped.Timer) {
			t.Error("Stop must report true once")
		}
		time.Sleep(2 * time.Minute)
		if got := moved.times(); len(got) != 1 || got[0] < time.Minute {
			t.Errorf("moved to a minute, due at %v", got)
		}
		if got := stopped.times(); got != nil {
			t.Errorf("stopped, but due at %v", got)
		}
	})
}

func TestSetAgainWhenDue(t *testing.T) {
	turning(t, func(t *testing.T, w *wheel.Wheel) {
		a := newAlarm()
		a.then = func() {
			if len(a.times()) < 5 {
				w.Set(&a.Timer, a, 0, 0)
			}
		}
		w.Set(&a.Timer, a, time.Second, 0)
		time.Sleep(5 * time.Second)
		if n := len(a.times()); n != 5 {
			t.Errorf("due %d times, want 5", n)
		}
	})
}

func TestSlackGathers(t *testing.T) {
	turning(t, func(t *testing.T, w *wheel.Wheel) {
		alarms := make([]*alarm, 1000)
		for i := range alarms {
			a := newAlarm()
			alarms[i] = a
			w.Set(&a.Timer, a, 10*time.Second+time.Duration(i)*time.Millisecond, 500*time.Millisecond)
		}
		time.Sleep(20 * time.Second)
		moments := map[time.Duration]bool{}
		for _, a := range alarms {
			for _, at := range a.times() {
				moments[at] = true
			}
		}
		if len(moments) > 4 {
			t.Errorf("due at %d moments, want 4 at most", len(moments))
		}
		for m := range moments {
			if m < 10*time.Second || m > 11500*time.Millisecond+wheel.Tick {
				t.Errorf("due at %v", m)
			}
		}
	})
}

// TestAgainstModel moves timers about at random and compares with a list of deadlines.
func TestAgainstModel(t *testing.T) {
	turning(t, func(t *testing.T, w *wheel.Wheel) {
		rnd := rand.New(rand.NewPCG(1, 2))
		alarms := make([]*alarm, 200)
		due := make([]time.Duration, len(alarms)) // zero: stopped
		start := time.Now()
		for i := range alarms {
			alarms[i] = newAlarm()
		}
		for range 5000 {
			i := rnd.IntN(len(alarms))
			switch rnd.IntN(3) {
			case 0:
				w.Stop(&alarms[i].Timer)
				due[i] = 0
			default:
				d := time.Duration(rnd.IntN(100_000)+1) * time.Millisecond
				w.Set(&alarms[i].Timer, alarms[i], d, 0)
				due[i] = time.Since(start) + d
			}
			time.Sleep(time.Duration(rnd.IntN(50)) * time.Millisecond)
			synctest.Wait() // the wheel may turn at this very moment
			for i, a := range alarms {
				for _, at := range a.take() {
					if due[i] == 0 || at < due[i] || at > due[i]+2*wheel.Tick {
						t.Fatalf("timer %d was to be due at %v, was at %v", i, due[i], at)
					}
					due[i] = 0
				}
				if due[i] != 0 && time.Since(start) > due[i]+2*wheel.Tick {
					t.Fatalf("timer %d was to be due at %v, and was not at %v", i, due[i], time.Since(start))
				}
			}
		}
	})
}

func BenchmarkMove(b *testing.B) {
	w := wheel.NewDriven(func() {})
	alarms := make([]alarm, 10_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		a := &alarms[i%len(alarms)]
		w.Set(&a.Timer, a, 25*time.Second, time.Second)
	}
}
