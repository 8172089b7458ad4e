package builtin

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaussette/chaussette/ws"
)

// Bench does on each request what a small database application does
// (chaussette.util.bench_app): 10,000 multiplications, a wait of 75 to 100 ms, then a
// query to one of ten databases, which answers with an HTML page. The databases are
// goroutines, as the old ones were threads behind pipes.
//
// At /ws it is a WebSocket that echoes, and sends a message that begins with '!' to all, on
// whichever worker they are.
type Bench struct {
	socket benchSocket

	queries chan chan<- string // a query is where the page is to be sent
	stop    chan struct{}
	running sync.WaitGroup
}

const databases = 10

// Start starts the databases.
func (b *Bench) Start(context.Context) error {
	b.queries, b.stop = make(chan chan<- string), make(chan struct{})
	for range databases {
		b.running.Go(b.database)
	}
	return nil
}

// Close stops the databases, and returns when they have ended.
func (b *Bench) Close(context.Context) error {
	close(b.stop)
	b.running.Wait()
	return nil
}

func (b *Bench) database() {
	for {
		select {
		case reply := <-b.queries:
			reply <- benchPage
		case <-b.stop:
			return
		}
	}
}

func (b *Bench) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == socketPath {
		noSocket(w, r)
		return
	}
	multiply(10_000)
	wait := time.NewTimer(75*time.Millisecond + rand.N(25*time.Millisecond))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-r.Context().Done():
		return
	}
	reply := make(chan string, 1) // the database never waits for a client that left
	select {
	case b.queries <- reply:
	case <-r.Context().Done():
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, <-reply)
}

// WebSocket implements ws.App.
func (b *Bench) WebSocket() ws.Handler { return &b.socket }

func (*Bench) String() string { return "bench (built-in)" }

// product keeps the compiler from leaving the multiplications out.
var product atomic.Int64

func multiply(times int64) {
	p := int64(1)
	for i := range times {
		p = p*31 + i
	}
	product.Store(p)
}

const benchPage = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Benchmark</title></head>
<body>
<h1>Benchmark</h1>
<p>Ten thousand multiplications, a short wait and a database query went into this page.</p>
</body>
</html>
`

// benchSocket is the WebSocket at /ws.
type benchSocket struct{}

// everyone is the group of all.
const everyone = "everyone"

// AcceptWebSocket implements ws.Acceptor.
func (*benchSocket) AcceptWebSocket(r *http.Request) (*ws.AcceptOptions, error) { return onlyAt(r) }

// Open implements ws.Handler.
func (*benchSocket) Open(c *ws.Conn) { c.Group(everyone).Add(c) }

// Message implements ws.Handler.
func (*benchSocket) Message(c *ws.Conn, typ ws.MessageType, p []byte) {
	if len(p) > 0 && p[0] == '!' {
		c.Group(everyone).Send(typ, p)
		return
	}
	_ = c.Send(typ, p)
}

// Close implements ws.Handler.
func (*benchSocket) Close(*ws.Conn, *ws.CloseError) {}
