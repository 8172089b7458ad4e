package adaptertest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/parser"
)

// Recovering is a worker with connection state recovery.
type Recovering struct {
	adapter.Adapter
	// Leave ends it as a worker ends that is told to; nil for one that cannot be replaced.
	Leave func()
}

// RunRecovery runs the suite of adapters with connection state recovery. Start starts one
// more worker of a namespace, up to n at a time; it is called n times at first.
//
// Clients lose their connection with some of what was sent to them, and come back to
// whatever worker, while all workers emit to all, to rooms and to single clients, and
// workers are replaced. In the end every client has each event once, and those of one
// worker in their order.
func RunRecovery(t *testing.T, patience time.Duration, n int, start func(t *testing.T) *Recovering) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := &recovery{T: t, patience: patience, random: rand.New(rand.NewPCG(seed, 1))}
			for range n {
				r.workers = append(r.workers, &emitter{Recovering: start(t), stop: make(chan struct{})})
			}
			r.run(start)
		})
	}
}

type recovery struct {
	*testing.T
	patience time.Duration
	random   *rand.Rand
	workers  []*emitter
	clients  []*Client

	mu   sync.Mutex // guards what follows
	sent []sent
}

// sent is an event, and which clients it is for.
type sent struct {
	name string
	who  func(*Client) bool // nil for what some may not get
}

// emitter is a worker that emits all the time.
type emitter struct {
	*Recovering
	stop chan struct{}
	done sync.WaitGroup
}

// Client is one that comes back. Its connection is a Socket of its own each time.
type Client struct {
	number int
	id     adapter.SocketID
	rooms  []adapter.Room
	offset string
	got    []string
	plain  atomic.Int32 // events that had Uncompressed set, or not, against what was sent
	conn   *conn        // nil while it is away
}

// conn is the socket of a Client while that is connected.
type conn struct {
	Socket
	client *Client
	worker *emitter
	cut    bool // nothing reaches the client any more; guarded by Socket.mu
	ended  chan struct{}
	once   sync.Once // Moved may be called by two who ask
}

// PID implements adapter.Returner.
func (c *conn) PID() string { return fmt.Sprint("pid-", c.client.number) }

// Moved implements adapter.Returner.
func (c *conn) Moved() { go c.once.Do(c.end) }

// Deliver implements adapter.Socket. What comes after the cut is lost.
func (c *conn) Deliver(p *adapter.Packet, _ adapter.Flags) bool {
	var n int
	if _, err := fmt.Sscanf(string(p.Data), `["event %d`, &n); err == nil && p.Uncompressed != plain(n) {
		c.client.plain.Add(1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.cut {
		c.got = append(c.got, string(p.Data))
	}
	return true
}

// end ends the connection as a server does that notices that it is lost.
func (c *conn) end() {
	a := c.worker.Adapter
	rooms := a.Rooms(c)
	a.Remove(c)
	a.Save(adapter.SavedSession{PID: c.PID(), ID: c.id, Rooms: rooms[1:], Data: map[string]int{"number": c.client.number}})
	close(c.ended)
}

// lose cuts the connection before the last events of what was sent have reached the client.
func (c *conn) lose(missing int) {
	c.mu.Lock()
	c.cut = true
	c.mu.Unlock()
	got := c.all()
	for _, data := range got[:len(got)-min(missing, len(got))] {
		args := parser.Elements([]byte(data))
		var name, offset string
		if json.Unmarshal(args[0], &name) == nil && json.Unmarshal(args[len(args)-1], &offset) == nil {
			c.client.got, c.client.offset = append(c.client.got, name), offset
		}
	}
}

// begin has e emit: two at once, so that events come out of their order where they can.
func (r *recovery) begin(e *emitter) {
	for range 2 {
		own := rand.New(rand.NewPCG(r.random.Uint64(), 2))
		e.done.Go(func() {
			for {
				select {
				case <-e.stop:
					return
				case <-time.After(time.Duration(own.IntN(2000)) * time.Microsecond):
					r.emit(e, own)
				}
			}
		})
	}
}

// plain tells whether an event is sent as one that is not to be compressed.
func plain(n int) bool { return n%3 == 0 }

// emit emits to somebody.
func (r *recovery) emit(e *emitter, random *rand.Rand) {
	r.mu.Lock()
	n, who := len(r.sent), func(*Client) bool { return true }
	var o adapter.Opts
	one := r.clients[random.IntN(len(r.clients))]
	switch random.IntN(5) {
	case 0:
		o.Rooms = []adapter.Room{one.rooms[0], "nobody"}
		who = func(c *Client) bool { return c.rooms[0] == one.rooms[0] }
	case 1:
		o.Rooms = []adapter.Room{adapter.Room(one.id)} // on this worker, or on another
		who = func(c *Client) bool { return c == one }
	case 2:
		o.Except = []adapter.Room{one.rooms[0]}
		who = func(c *Client) bool { return c.rooms[0] != one.rooms[0] }
	case 3:
		o.Flags.Volatile = true
		who = nil
	}
	name := fmt.Sprintf("event %d of %p", n, random)
	if who == nil {
		name = "volatile"
	}
	r.sent = append(r.sent, sent{name, who})
	r.mu.Unlock()
	p := Event(name)
	p.Uncompressed = plain(n)
	if err := e.Broadcast(p, o); err != nil {
		r.Error(err)
	}
}

func (r *recovery) run(start func(*testing.T) *Recovering) {
	const clients = 12
	for i := range clients {
		c := &Client{number: i, id: adapter.SocketID(fmt.Sprint("client-", i)), rooms: []adapter.Room{adapter.Room(fmt.Sprint("room-", i%3)), "all"}}
		r.first(c)
	}
	for _, e := range r.workers {
		r.begin(e)
	}
	for step := range 150 {
		c := r.clients[r.random.IntN(clients)]
		switch {
		case c.conn == nil:
			r.back(c)
		case step%30 == 29 && r.workers[0].Leave != nil:
			r.replace(start)
		case step%10 == 0:
			// It is back before the worker has noticed that it has left.
			was := c.conn
			was.lose(r.random.IntN(5))
			r.back(c)
			<-was.ended
		default:
			r.leave(c)
		}
		time.Sleep(time.Duration(r.random.IntN(3)) * time.Millisecond) // so that there is something to miss
	}
	for _, e := range r.workers {
		close(e.stop)
		e.done.Wait()
	}
	for _, c := range r.clients {
		if c.conn == nil {
			r.back(c)
		}
	}
	for _, c := range r.clients {
		r.check(c)
	}
}

// first connects a client that was never there.
func (r *recovery) first(c *Client) {
	e := r.workers[r.random.IntN(len(r.workers))]
	c.conn = &conn{Socket: Socket{id: c.id, adapter: e.Adapter}, client: c, worker: e, ended: make(chan struct{})}
	e.Add(c.conn)
	e.Join(c.conn, c.rooms...)
	r.clients = append(r.clients, c)
}

// leave has a client lose its connection, and the worker notice that.
func (r *recovery) leave(c *Client) {
	c.conn.lose(r.random.IntN(5))
	c.conn.once.Do(c.conn.end)
	c.conn = nil
}

// back connects a client again, to any worker.
func (r *recovery) back(c *Client) {
	r.Helper()
	e := r.workers[r.random.IntN(len(r.workers))]
	ctx, cancel := context.WithTimeout(r.Context(), r.patience)
	defer cancel()
	fresh := &conn{client: c, worker: e, ended: make(chan struct{})}
	restored, err := e.Restore(ctx, fresh.PID(), c.offset, func(s adapter.SavedSession) adapter.Socket {
		if s.ID != c.id || !slices.Contains(s.Rooms, c.rooms[0]) || !slices.Contains(s.Rooms, c.rooms[1]) || len(s.Rooms) != 2 {
			r.Errorf("client %d is back as %s in %v", c.number, s.ID, s.Rooms)
		}
		data, _ := json.Marshal(s.Data)
		if encoded, ok := s.Data.(adapter.EncodedData); ok {
			data = encoded
		}
		if want := fmt.Sprintf(`{"number":%d}`, c.number); string(data) != want {
			r.Errorf("its data is %s, want %s", data, want)
		}
		fresh.id, fresh.adapter = s.ID, e.Adapter
		for _, p := range s.Missed {
			fresh.Deliver(p, adapter.Flags{})
		}
		return fresh
	})
	if err != nil || !restored {
		r.Fatalf("client %d at %q is not restored: %v", c.number, c.offset, err)
	}
	c.conn = fresh
}

// replace has a worker leave, and starts another one.
func (r *recovery) replace(start func(*testing.T) *Recovering) {
	i := r.random.IntN(len(r.workers))
	e := r.workers[i]
	close(e.stop)
	e.done.Wait()
	for _, c := range r.clients {
		if c.conn != nil && c.conn.worker == e {
			r.leave(c)
		}
	}
	e.Leave()
	r.workers[i] = &emitter{Recovering: start(r.T), stop: make(chan struct{})}
	r.begin(r.workers[i])
}

// check waits until a client has everything, and sees that it has it once and in order.
func (r *recovery) check(c *Client) {
	var want []string
	for _, s := range r.sent {
		if s.who != nil && s.who(c) {
			want = append(want, s.name)
		}
	}
	there := func() (got []string) {
		got = slices.Clone(c.got)
		for _, data := range c.conn.all() {
			got = append(got, strings.Trim(string(parser.Elements([]byte(data))[0]), `"`))
		}
		return slices.DeleteFunc(got, func(name string) bool { return name == "volatile" })
	}
	for end := time.Now().Add(r.patience); len(there()) < len(want) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	got := there()
	times := map[string]int{}
	for _, name := range got {
		times[name]++
	}
	missing, doubled := 0, 0
	for _, name := range want {
		switch n := times[name]; {
		case n == 0:
			missing++
		case n > 1:
			doubled++
		}
		delete(times, name)
	}
	if n := c.plain.Load(); n > 0 {
		r.Errorf("client %d: %d events have lost whether they are to be compressed", c.number, n)
	}
	last := map[string]int{} // of each who emits one after another
	for _, name := range got {
		var n int
		var by string
		_, _ = fmt.Sscanf(name, "event %d of %s", &n, &by)
		if n < last[by] {
			r.Errorf("client %d got event %d after %d of %s", c.number, n, last[by], by)
		}
		last[by] = n
	}
	if missing > 0 || doubled > 0 || len(times) > 0 {
		r.Errorf("client %d: of %d events %d are missing, %d doubled, and it has %d of others", c.number, len(want), missing, doubled, len(times))
	}
}
