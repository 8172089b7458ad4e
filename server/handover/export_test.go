package handover

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Heard is what siblings have told: how many connections each has, sorted, without those
// that take none.
func (e *Exchange) Heard() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []string
	for _, l := range e.loads {
		if l.takes {
			all = append(all, fmt.Sprint(l.conns))
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// Reparse is parseConnection or parseLoad, and the message made again of what they say.
func Reparse(m []byte) ([]byte, error) {
	if l, err := parseLoad(m); err == nil {
		return appendLoad(nil, l), nil
	}
	what, remote, read, err := parseConnection(m)
	if err != nil {
		return nil, err
	}
	return append(appendConnection(nil, what, remote), read...), nil
}

// Messages are some of each kind.
func Messages() [][]byte {
	return [][]byte{
		append(appendConnection(nil, forSession, ""), "GET / HTTP/1.1\r\nHost: h\r\n\r\n"...),
		append(appendConnection(nil, offered, ""), "GET"...),
		appendConnection(nil, lastOffer, ""),
		appendConnection(nil, forSession, "192.0.2.1:80"),
		append(appendConnection(nil, forStream, "192.0.2.1:80"), "\x010"...),
		appendLoad(nil, load{0, false}),
		appendLoad(nil, load{70000, true}),
	}
}

// Load is the message of a worker that takes connections.
func Load(conns int) []byte { return appendLoad(nil, load{conns, true}) }

// MaxHeld is how many connections wait for siblings that are away at most.
const MaxHeld = maxHeld

// Held is how many connections wait for siblings that are away.
func (e *Exchange) Held() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.held)
}

// Late has those that are held wait so much less.
func (e *Exchange) Late(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.held {
		e.held[i].until = e.held[i].until.Add(-d)
	}
}
