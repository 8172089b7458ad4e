package adminui

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter"
)

// stats are this server's numbers. What happens often is counted, and put into the seconds
// of tally once a second.
type stats struct {
	host    string
	started time.Time

	packetsIn, packetsOut, bytesIn, bytesOut atomic.Int64

	mu    sync.Mutex // guards what follows
	tally map[aggregate]int64
	order []aggregate
}

// aggregate is what is counted together.
type aggregate struct {
	second        int64 // Unix
	what, subType string
}

func newStats(host string) *stats {
	return &stats{host: host, started: time.Now(), tally: map[aggregate]int64{}}
}

// add counts one, of now.
func (s *stats) add(what, subType string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addLocked(aggregate{time.Now().Unix(), what, subType}, 1)
}

func (s *stats) addLocked(a aggregate, n int64) {
	if n == 0 {
		return
	}
	if _, ok := s.tally[a]; !ok {
		s.order = append(s.order, a)
	}
	s.tally[a] += n
}

// turn ends a second.
func (s *stats) turn(now time.Time) {
	second := now.Unix() - 1
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addLocked(aggregate{second, "packetsIn", ""}, s.packetsIn.Swap(0))
	s.addLocked(aggregate{second, "packetsOut", ""}, s.packetsOut.Swap(0))
	s.addLocked(aggregate{second, "bytesIn", ""}, s.bytesIn.Swap(0))
	s.addLocked(aggregate{second, "bytesOut", ""}, s.bytesOut.Swap(0))
}

// aggregatedEvent is an aggregate with its number.
type aggregatedEvent struct {
	Timestamp int64  `json:"timestamp"` // Unix milliseconds
	Type      string `json:"type"`
	SubType   string `json:"subType,omitempty"`
	Count     int64  `json:"count"`
}

// take returns what was counted since it was called last.
func (s *stats) take() []aggregatedEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]aggregatedEvent, len(s.order))
	for i, a := range s.order {
		all[i] = aggregatedEvent{a.second * 1000, a.what, a.subType, s.tally[a]}
	}
	clear(s.tally)
	s.order = s.order[:0]
	return all
}

// serverStats is what server_stats tells.
type serverStats struct {
	ServerID            string             `json:"serverId"`
	Hostname            string             `json:"hostname"`
	PID                 int                `json:"pid"`
	Uptime              float64            `json:"uptime"` // in seconds
	ClientsCount        int                `json:"clientsCount"`
	PollingClientsCount int                `json:"pollingClientsCount"`
	AggregatedEvents    []aggregatedEvent  `json:"aggregatedEvents"`
	Namespaces          []namespaceDetails `json:"namespaces"`
}

type namespaceDetails struct {
	Name         string `json:"name"`
	SocketsCount int    `json:"socketsCount"`
}

// report is the state of this server, with what take has returned.
func (a *admin) report(aggregated []aggregatedEvent) serverStats {
	r := serverStats{
		ServerID: a.options.ServerID, Hostname: a.stats.host, PID: os.Getpid(), Uptime: time.Since(a.stats.started).Seconds(),
		ClientsCount: a.io.Engine().Len(), PollingClientsCount: a.io.Engine().Polling(),
		AggregatedEvents: aggregated, Namespaces: []namespaceDetails{},
	}
	if aggregated == nil {
		r.AggregatedEvents = []aggregatedEvent{}
	}
	for _, n := range a.io.Namespaces() {
		count := 0
		n.Adapter().Each(adapter.Opts{}, func(adapter.Socket) bool { count++; return true })
		r.Namespaces = append(r.Namespaces, namespaceDetails{n.Name(), count})
	}
	return r
}
