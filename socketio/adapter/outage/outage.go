// Package outage counts and reports what a broker that is away does not carry, and what
// it carries that nobody understands, without a line in the log for each.
package outage

import (
	"log/slog"
	"sync"
	"time"
)

// Every is how often the log hears of something that goes on.
const Every = 10 * time.Second

// Report is what the log is told of one broker. Its methods may be called from any
// goroutine. In the beginning the broker is away, and nobody is told.
type Report struct {
	name string
	log  *slog.Logger

	mu          sync.Mutex // guards what follows
	since       time.Time
	away        bool
	told        bool   // that it is away
	lost        uint64 // in this outage
	allLost     uint64
	bad         uint64 // since the log was told
	allBad      uint64
	lastBad     time.Time
	lastLost    time.Time
	lastRefused time.Time
	closed      bool
}

// New returns the Report of a broker, which the log knows by name. Nil for the logger
// discards.
func New(name string, log *slog.Logger) *Report {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Report{name: name, log: log, away: true, since: time.Now()}
}

// Away says that the broker cannot be reached. Of further failures in the same outage the
// log hears at the level of debugging.
func (r *Report) Away(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	if !r.away {
		r.away, r.since, r.lost = true, time.Now(), 0
	}
	if r.told {
		r.log.Debug(r.name+" is still away", "error", err)
		return
	}
	r.told, r.lastLost = true, time.Now()
	r.log.Error(r.name+" is away: what is emitted reaches the clients of this machine alone, until it is back", "error", err)
}

// Back says that the broker has been reached.
func (r *Report) Back() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.away || r.closed {
		return
	}
	if r.told {
		r.log.Warn(r.name+" is back", "away", time.Since(r.since).Round(time.Millisecond), "emits-lost", r.lost)
	} else {
		r.log.Info(r.name + " is reached")
	}
	r.away, r.told, r.lost = false, false, 0
}

// Lost counts what was not sent to other machines.
func (r *Report) Lost(n int) {
	if n == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost += uint64(n)
	r.allLost += uint64(n)
	if now := time.Now(); !r.closed && now.Sub(r.lastLost) >= Every && (r.told || !r.away) {
		r.lastLost = now
		r.log.Warn("emits have not reached other machines", "by", r.name, "emits-lost", r.lost)
	}
}

// Bad counts a message that was dropped because it makes no sense.
func (r *Report) Bad(channel string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bad++
	r.allBad++
	if now := time.Now(); !r.closed && now.Sub(r.lastBad) >= Every {
		r.lastBad = now
		r.log.Warn("a message from "+r.name+" is dropped", "channel", channel, "error", err, "messages", r.bad)
		r.bad = 0
	}
}

// Totals are what was lost and what was dropped from the beginning.
func (r *Report) Totals() (lost, bad uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.allLost, r.allBad
}

// Close ends the reporting: that a broker which is closed cannot be reached is no news.
func (r *Report) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed && r.lost > 0 {
		r.log.Warn("emits have not reached other machines", "by", r.name, "emits-lost", r.lost)
	}
	r.closed = true
}

// Refused says that the broker is there, and does not take what it is given.
func (r *Report) Refused(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); !r.closed && now.Sub(r.lastRefused) >= Every {
		r.lastRefused = now
		r.log.Error(r.name+" refuses what it is given: other machines do not get it", "error", err)
	}
}
