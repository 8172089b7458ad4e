package adminui

import (
	"sync"
	"time"
)

// tries counts the logins that have failed, for each host.
type tries struct {
	mu    sync.Mutex // guards what follows
	hosts map[string]*failures
}

type failures struct {
	n     int
	since time.Time
}

const (
	maxTries = 10 // in a window
	window   = time.Minute
	maxHosts = 4096 // past which those that are new are counted together
)

// take counts a try before it is made, so that many at once are no way around. It is false
// for one too many.
func (t *tries) take(remote string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.ofLocked(hostOf(remote))
	if time.Since(f.since) >= window {
		*f = failures{since: time.Now()}
	}
	if f.n >= maxTries {
		return false
	}
	f.n++
	return true
}

// forgive takes a try back that was none.
func (t *tries) forgive(remote string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.ofLocked(hostOf(remote)); f.n > 0 {
		f.n--
	}
}

func (t *tries) ofLocked(host string) *failures {
	if f := t.hosts[host]; f != nil {
		return f
	}
	if len(t.hosts) >= maxHosts {
		for h, f := range t.hosts {
			if time.Since(f.since) >= window {
				delete(t.hosts, h)
			}
		}
	}
	if len(t.hosts) >= maxHosts {
		host = "" // no host has this name
		if f := t.hosts[host]; f != nil {
			return f
		}
	}
	if t.hosts == nil {
		t.hosts = map[string]*failures{}
	}
	f := &failures{since: time.Now()}
	t.hosts[host] = f
	return f
}
