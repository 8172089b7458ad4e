// Package namespaces divides an app into parts that share a connection and nothing else: each has
// its own clients, rooms and events. There is a lobby, a namespace for each table that somebody
// sits at, and one for the staff.
//
//	chaussette --backend socketio ./examples/namespaces.App
//
//	const lobby = io(), table = io('/table-7'); // one WebSocket for both
//	lobby.on('tables', (open) => console.log(open));
//	table.on('said', (who, text) => console.log(who, text));
//	table.emit('say', 'good evening');
package namespaces

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"

	"github.com/chaussette/chaussette/socketio"
)

const lastTable = 20 // the tables are numbered from 1 on

// App is what is served.
var App = &restaurant{guests: map[string]int{}}

// restaurant knows how many guests each table has.
type restaurant struct {
	mu     sync.Mutex
	guests map[string]int
}

// sit adds n guests to a table, and returns the tables that have some.
func (r *restaurant) sit(table string, n int) (open []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.guests[table] += n; r.guests[table] <= 0 {
		delete(r.guests, table)
	}
	for name := range r.guests {
		open = append(open, name)
	}
	slices.Sort(open)
	return open
}

// RegisterSocketIO implements socketio.App.
func (r *restaurant) RegisterSocketIO(io *socketio.Server) {
	// The namespace / is the server itself: handlers of io are for its clients alone.
	lobby, staff := io, io.Of("/staff")

	// A pattern's namespaces are made when the first client comes, and go with the last.
	tables := io.OfMatch(regexp.MustCompile(`^/table-[0-9]+$`).MatchString)
	tables.OnConnect(func(s *socketio.Socket) {
		open := r.sit(s.Namespace().Name(), 1)
		_ = lobby.Emit("tables", open)
		_ = staff.Emit("seated", s.Namespace().Name(), s.ID())
	})
	tables.OnDisconnect(func(s *socketio.Socket, _ socketio.Reason) {
		_ = lobby.Emit("tables", r.sit(s.Namespace().Name(), -1))
	})
	tables.On("say", func(s *socketio.Socket, text string) error {
		return s.Namespace().Emit("said", s.ID(), text) // heard at this table
	})

	// The staff speaks to one table, or to all guests in the lobby.
	staff.On("serve", func(table int, dish string) error {
		if table < 1 || table > lastTable {
			return errors.New("no such table") // Of makes what is not there
		}
		return io.Of(fmt.Sprintf("/table-%d", table)).Emit("served", dish)
	})
	staff.On("announce", func(text string) error { return lobby.Emit("announced", text) })
}
