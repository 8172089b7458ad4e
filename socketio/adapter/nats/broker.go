package nats

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/adapter/cluster"
	"github.com/chaussette/chaussette/socketio/adapter/outage"
	"github.com/chaussette/chaussette/socketio/adapter/siblings"
)

// Options of a Broker. The zero value serves; nil means it.
type Options struct {
	// Siblings are the workers on the same socket, which need no NATS. Nil is none.
	Siblings *siblings.Hub
	// Recovery turns on connection state recovery. Nil leaves it off.
	Recovery *adapter.Recovery
	// Heartbeat is how often a worker says that it is there; 0 means 5 s. One that is not
	// heard of for three of them has gone.
	Heartbeat time.Duration
	// MaxQueue bounds what waits to be sent, in bytes; 0 means 16 MiB. What comes beyond
	// is lost, and counted.
	MaxQueue int
	// Logger is told when NATS is away, and of messages that make no sense. Nil discards.
	Logger *slog.Logger
}

// Broker is a worker's connection to NATS. Its methods may be called from any goroutine.
type Broker struct {
	options Options
	config  config
	name    string // this worker's
	group   string // what the names of its siblings begin with; empty without
	conn    *nats.Conn
	report  *outage.Report

	incoming chan *nats.Msg // of all subscriptions, so that what one worker sends stays in order
	end      context.CancelFunc
	done     sync.WaitGroup
	sending  sync.WaitGroup

	wake chan struct{} // holds a value when there is something to send

	mu       sync.Mutex // guards what follows
	spaces   map[string]*space
	heard    map[string]time.Time // when of which worker
	outgoing []outgoing
	bytes    int // in outgoing
}

// outgoing is a message that is to be sent.
type outgoing struct {
	subject string
	data    []byte
}

// config is what the URL says.
type config struct {
	servers string
	prefix  string
	creds   string
}

// DefaultPrefix is what the names of subjects begin with.
const DefaultPrefix = "socketio"

const (
	defaultHeartbeat = 5 * time.Second
	// The pauses between two attempts to connect; each is twice the one before.
	shortestPause = 50 * time.Millisecond
	longestPause  = 5 * time.Second
	// flushing bounds how long Close waits for what was sent.
	flushing = time.Second
	// waiting is how many messages may wait until they are handled. The next is lost.
	waiting = 16 << 10
)

// Check tells what is wrong with a URL.
func Check(address string) error {
	_, err := parse(address)
	return err
}

func parse(address string) (config, error) {
	c := config{prefix: DefaultPrefix}
	var query string
	c.servers, query, _ = strings.Cut(address, "?")
	for one := range strings.SplitSeq(c.servers, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil {
			return config{}, err
		}
		if u.Scheme != "nats" && u.Scheme != "tls" || u.Host == "" {
			return config{}, fmt.Errorf("%q: nats://host:port, or tls://", u.Redacted())
		}
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return config{}, err
	}
	for name, values := range q {
		switch name {
		case "prefix":
			if c.prefix = values[0]; c.prefix == "" || strings.ContainsAny(c.prefix, "*> \t\r\n") {
				return config{}, fmt.Errorf("the prefix %q: a subject of NATS", c.prefix)
			}
		case "creds":
			c.creds = values[0]
		default:
			return config{}, fmt.Errorf("the parameter %s: prefix or creds", name)
		}
	}
	return c, nil
}

// Open returns the Broker of a NATS server. It tries to connect for two seconds at most,
// and goes on to in the background. The error is about the URL: that the server is away is
// none.
func Open(address string, options *Options) (*Broker, error) {
	c, err := parse(address)
	if err != nil {
		return nil, fmt.Errorf("nats adapter: %w", err)
	}
	b := &Broker{config: c, incoming: make(chan *nats.Msg, waiting), spaces: map[string]*space{}, heard: map[string]time.Time{}, wake: make(chan struct{}, 1)}
	if options != nil {
		b.options = *options
	}
	if b.options.Heartbeat == 0 {
		b.options.Heartbeat = defaultHeartbeat
	}
	if b.options.MaxQueue == 0 {
		b.options.MaxQueue = 16 << 20
	}
	if h := b.options.Siblings; h != nil {
		b.group = h.Group()
		b.name = b.group + string(h.Tag())
	} else {
		b.name = newName()
	}
	b.report = outage.New("nats", b.options.Logger)
	o := []nats.Option{
		nats.Name("chaussette"), nats.NoEcho(), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectBufSize(-1), // what is sent while it is away is lost
		nats.CustomReconnectDelay(pause), nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2), nats.FlusherTimeout(5 * time.Second),
		nats.ConnectHandler(func(*nats.Conn) { b.back() }), nats.ReconnectHandler(func(*nats.Conn) { b.back() }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { b.away(err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { b.report.Away(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) { b.failed(s, err) }),
	}
	if c.creds != "" {
		o = append(o, nats.UserCredentials(c.creds))
	}
	ctx, end := context.WithCancel(context.Background())
	b.end = end
	conn, err := nats.Connect(c.servers, o...)
	if err != nil {
		end()
		return nil, fmt.Errorf("nats adapter: %w", err)
	}
	b.conn = conn
	if !conn.IsConnected() {
		b.report.Away(cause(conn.LastError()))
	}
	if _, err := conn.ChanSubscribe(c.prefix+".beat", b.incoming); err != nil {
		end()
		conn.Close()
		return nil, fmt.Errorf("nats adapter: %w", err)
	}
	b.done.Go(func() { b.receive(ctx) })
	b.done.Go(func() { b.beat(ctx) })
	b.sending.Go(func() { b.send(ctx) })
	return b, nil
}

func newName() string {
	b := make([]byte, 15)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func cause(err error) error {
	if err == nil {
		return errors.New("it does not answer")
	}
	return err
}

// pause is how long to wait before the next attempt to connect; a part of it is random, so
// that not all workers come at once.
func pause(attempts int) time.Duration {
	d := longestPause
	if attempts < 7 {
		d = min(shortestPause<<attempts, longestPause)
	}
	return d/2 + mathrand.N(d/2)
}

// Factory is an adapter.Factory.
func (b *Broker) Factory(namespace string, h adapter.Handler) (adapter.Adapter, error) {
	return b.open(namespace, h)
}

// Ready waits until what others send reaches this worker, or ctx ends.
func (b *Broker) Ready(ctx context.Context) error {
	for !b.conn.IsConnected() {
		select {
		case <-time.After(shortestPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return b.conn.FlushWithContext(ctx)
}

// Lost is how much was emitted that other machines have not got.
func (b *Broker) Lost() uint64 {
	lost, _ := b.report.Totals()
	return lost
}

// Dropped is how many messages came that make no sense, or found no room.
func (b *Broker) Dropped() uint64 {
	_, bad := b.report.Totals()
	return bad
}

// all are the spaces there are.
func (b *Broker) all() []*space {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]*space, 0, len(b.spaces))
	for _, s := range b.spaces {
		list = append(list, s)
	}
	return list
}

// back is called when the connection is made. Who is on the other side may have changed.
func (b *Broker) back() {
	b.report.Back()
	b.mu.Lock()
	now := time.Now()
	for name := range b.heard {
		b.heard[name] = now
	}
	b.mu.Unlock()
	for _, s := range b.all() {
		s.announce()
	}
}

// away is called when the connection is lost. The workers it led to are kept for a while:
// they are likely to come back with it.
func (b *Broker) away(err error) {
	b.report.Away(cause(err))
	for _, s := range b.all() {
		s.interrupt()
	}
}

func (b *Broker) failed(s *nats.Subscription, err error) {
	subject := ""
	if s != nil {
		subject = s.Subject
	}
	b.report.Bad(subject, err)
}

// publish sends a message in the background. What is not sent is counted; the error is
// about one that is too large.
func (b *Broker) publish(subject string, m *message) (sent bool, err error) {
	m.from = b.name
	if !b.conn.IsConnected() {
		b.report.Lost(1)
		return false, nil
	}
	data := m.encode()
	if most := b.conn.MaxPayload(); int64(len(data)) > most {
		b.report.Lost(1)
		return false, fmt.Errorf("nats adapter: %d bytes, and the server takes %d: %w", len(data), most, nats.ErrMaxPayload)
	}
	if !b.queue(subject, data) {
		b.report.Lost(1)
		return false, nil
	}
	return true, nil
}

// presence sends what says who is there. Lost, it is said again when NATS is back.
func (b *Broker) presence(subject string, w what) {
	if b.conn.IsConnected() {
		b.queue(subject, (&message{what: w, from: b.name}).encode())
	}
}

// queue is false where there is no room.
func (b *Broker) queue(subject string, data []byte) bool {
	b.mu.Lock()
	if b.bytes > 0 && b.bytes+len(data) > b.options.MaxQueue {
		b.mu.Unlock()
		return false
	}
	b.outgoing = append(b.outgoing, outgoing{subject, data})
	b.bytes += len(data)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return true
}

// send sends what is queued: nats.go waits for a server that does not read.
func (b *Broker) send(ctx context.Context) {
	for {
		select {
		case <-b.wake:
		case <-ctx.Done():
			b.sendAll()
			return
		}
		b.sendAll()
	}
}

func (b *Broker) sendAll() {
	for {
		b.mu.Lock()
		all := b.outgoing
		b.outgoing, b.bytes = nil, 0
		b.mu.Unlock()
		if len(all) == 0 {
			return
		}
		for _, o := range all {
			if err := b.conn.Publish(o.subject, o.data); err != nil {
				b.report.Lost(1)
			}
		}
	}
}

// receive handles what comes.
func (b *Broker) receive(ctx context.Context) {
	for {
		select {
		case m := <-b.incoming:
			if err := b.handle(m.Subject, m.Data); err != nil {
				b.report.Bad(m.Subject, err)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (b *Broker) handle(subject string, data []byte) error {
	m, err := decode(data)
	if err != nil {
		return err
	}
	if m.from == b.name {
		return nil
	}
	b.mu.Lock()
	_, known := b.heard[m.from]
	b.heard[m.from] = time.Now()
	token, _, _ := strings.Cut(strings.TrimPrefix(subject, b.config.prefix+"."), ".")
	s := b.spaces[token]
	b.mu.Unlock()
	if m.what == beat {
		if !known {
			// It was taken for gone, or has never been heard of: which namespaces it has
			// its answers say.
			for _, s := range b.all() {
				s.announce()
			}
		}
		return nil
	}
	if s == nil {
		return nil // it was closed meanwhile
	}
	return s.handle(&m)
}

// beat tells others that this worker is there, and looks who is not.
func (b *Broker) beat(ctx context.Context) {
	ticker := time.NewTicker(b.options.Heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if !b.conn.IsConnected() {
			continue // nobody can be heard
		}
		b.presence(b.config.prefix+".beat", beat)
		old := time.Now().Add(-3 * b.options.Heartbeat)
		var gone []string
		b.mu.Lock()
		for name, at := range b.heard {
			if at.Before(old) {
				gone = append(gone, name)
				delete(b.heard, name)
			}
		}
		b.mu.Unlock()
		for _, name := range gone {
			for _, s := range b.all() {
				s.remove(b.worker(name))
			}
		}
	}
}

// worker is the name by which the adapters know a worker: siblings are known by their tag.
func (b *Broker) worker(name string) cluster.Worker {
	if b.group != "" {
		name = strings.TrimPrefix(name, b.group)
	}
	return cluster.Worker(name)
}

// Close takes this worker from its namespaces and closes the connection. Local delivery
// goes on.
func (b *Broker) Close() error {
	b.report.Close()
	for _, s := range b.all() {
		b.presence(s.subject, leave)
	}
	b.end()
	flushed := time.AfterFunc(flushing, b.conn.Close) // which ends the sending, too
	b.sending.Wait()
	if b.conn.IsConnected() {
		_ = b.conn.FlushTimeout(flushing)
	}
	flushed.Stop()
	b.conn.Close()
	b.done.Wait()
	return nil
}
