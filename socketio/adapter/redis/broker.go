package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/cluster"
	"github.com/chaussette/chaussette/socketio/adapter/outage"
	"github.com/chaussette/chaussette/socketio/adapter/siblings"
)

// Options of a Broker. The zero value serves; nil means it.
type Options struct {
	// Siblings are the workers on the same socket, which need no Redis. Nil is none.
	Siblings *siblings.Hub
	// Recovery turns on connection state recovery, on this worker and its siblings; Node's
	// format has no place for it. Nil leaves it off.
	Recovery *adapter.Recovery
	// Timeout is how long other workers may take to answer a request; 0 means 5 s, as
	// with Node's adapter.
	Timeout time.Duration
	// MaxQueue bounds what waits to be sent, in bytes; 0 means 16 MiB. What comes beyond
	// is lost, and counted.
	MaxQueue int
	// Logger is told when Redis is away, and of messages that make no sense. Nil discards.
	Logger *slog.Logger
}

// Broker is a worker's connections to one Redis server: one for commands, one for what it
// is subscribed to. Its methods may be called from any goroutine.
type Broker struct {
	options Options
	config  config
	uid     string // this worker's name among those on Redis
	group   string // that of its siblings; empty without
	self    cluster.Worker
	link    *link
	report  *outage.Report

	mu     sync.Mutex // guards what follows
	spaces map[*space]bool
}

// config is what the URL says.
type config struct {
	prefix  string
	sharded shards
	client  *redis.Options
}

// shards is a subscription mode of Node's sharded adapter.
type shards string

const (
	classic        shards = ""
	static         shards = "static"
	dynamic        shards = "dynamic"
	dynamicPrivate shards = "dynamic-private"
)

// DefaultPrefix is what the names of channels begin with.
const DefaultPrefix = "socket.io"

// Check tells what is wrong with a URL.
func Check(address string) error {
	_, err := parse(address)
	return err
}

func parse(address string) (config, error) {
	u, err := url.Parse(address)
	if err != nil {
		return config{}, err
	}
	if u.Scheme != "redis" && u.Scheme != "rediss" {
		return config{}, fmt.Errorf("%q: redis:// or rediss://", u.Scheme)
	}
	c := config{prefix: DefaultPrefix}
	q := u.Query()
	if q.Has("prefix") {
		if c.prefix = q.Get("prefix"); c.prefix == "" {
			return config{}, fmt.Errorf("the prefix is empty")
		}
		q.Del("prefix")
	}
	if q.Has("sharded") {
		switch mode := q.Get("sharded"); mode {
		case "1", "true", string(dynamic):
			c.sharded = dynamic
		case string(dynamicPrivate), string(static):
			c.sharded = shards(mode)
		case "0", "false":
		default:
			return config{}, fmt.Errorf("sharded=%s: dynamic (or 1), dynamic-private or static", mode)
		}
		q.Del("sharded")
	}
	u.RawQuery = q.Encode()
	if c.client, err = redis.ParseURL(u.String()); err != nil {
		return config{}, err
	}
	return c, nil
}

// Open returns the Broker of a Redis server, and connects to it in the background. The
// error is about the URL: that the server is away is none.
func Open(address string, options *Options) (*Broker, error) {
	c, err := parse(address)
	if err != nil {
		return nil, fmt.Errorf("redis adapter: %w", err)
	}
	b := &Broker{config: c, uid: newUID(), spaces: map[*space]bool{}}
	if options != nil {
		b.options = *options
	}
	if b.options.Timeout == 0 {
		b.options.Timeout = cluster.DefaultTimeout
	}
	if b.options.MaxQueue == 0 {
		b.options.MaxQueue = 16 << 20
	}
	if h := b.options.Siblings; h != nil {
		b.group, b.self = h.Group(), h.Tag()
	}
	o := c.client
	// One connection for commands; and nothing is sent twice because its answer was lost.
	o.PoolSize, o.PipelinePoolSize, o.MaxRetries, o.DialerRetries = 1, -1, -1, 1
	o.Protocol = 2
	o.ContextTimeoutEnabled = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if o.ClientName == "" {
		o.ClientName = "chaussette"
	}
	b.report = outage.New("redis", b.options.Logger)
	b.link = openLink(redis.NewClient(o), b.options.MaxQueue, b.report, b.lost)
	return b, nil
}

func newUID() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// Factory is an adapter.Factory.
func (b *Broker) Factory(namespace string, h adapter.Handler) (adapter.Adapter, error) {
	s := newSpace(b, namespace, h)
	b.mu.Lock()
	b.spaces[s] = true
	b.mu.Unlock()
	b.link.subscribe(s.dialect.channels(), s.received)
	return s, nil
}

// Ready waits until this worker hears what others send to its namespaces, or ctx ends.
func (b *Broker) Ready(ctx context.Context) error { return b.link.settle(ctx) }

// Lost is how much was emitted that other machines have not got.
func (b *Broker) Lost() uint64 {
	lost, _ := b.report.Totals()
	return lost
}

// Dropped is how many messages came that make no sense.
func (b *Broker) Dropped() uint64 {
	_, bad := b.report.Totals()
	return bad
}

// lost is called when the connection is: nobody answers any more.
func (b *Broker) lost() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.spaces {
		s.interrupt()
	}
}

// Close sends what waits to be sent, for a second at most, and closes the connections.
// Local delivery goes on. A second call does nothing.
func (b *Broker) Close() error {
	b.report.Close()
	return b.link.close()
}
