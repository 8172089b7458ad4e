package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/chaussette/chaussette/socketio/adapter/outage"
)

// How long Redis may take, and how long it is left alone.
const (
	// silence is after how long without a message it is asked whether it is there.
	silence = 5 * time.Second
	// answer is how long it may take for that, and to confirm subscriptions.
	answering = 5 * time.Second
	// The pauses between two attempts to connect; each is twice the one before, with a
	// part of it at random so that not all workers come at once.
	shortestPause = 50 * time.Millisecond
	longestPause  = 5 * time.Second
	// flushing bounds how long close waits for what is to be sent.
	flushing = time.Second
	// batch is how many messages go out together at most.
	batch = 256
)

// channel is what a worker subscribes to.
type channel struct {
	kind channelKind
	name string
}

type channelKind byte

const (
	plain channelKind = iota
	pattern
	shard
)

// hello is a channel of no use, for who has nothing else to subscribe to.
var hello = channel{plain, "chaussette-hello"}

// message is one to be published.
type message struct {
	channel string
	payload []byte
	shard   bool
}

var errAway = errors.New("redis is away")

// link is the two connections, made again when they break.
type link struct {
	client *redis.Client
	report *outage.Report
	lost   func() // called when the connection has broken
	max    int    // bytes in the queue

	end  context.CancelFunc
	done sync.WaitGroup

	wake    chan struct{} // holds a value when there is something to send
	changed chan struct{} // holds a value when wanted has changed

	mu      sync.Mutex // guards what follows
	up      bool
	closing bool
	queue   []message
	bytes   int
	sending int           // taken from the queue, and not sent yet
	idle    chan struct{} // closed and made anew when all is sent
	broken  func(error)   // ends what is connected now
	wanted  map[channel]func(channel, payload string)
	touched map[channel]bool // came to what is wanted, or went, and the session has not seen it
	settled chan struct{}    // closed while Redis has confirmed all that is wanted
	open    bool             // settled is not closed
}

func openLink(c *redis.Client, max int, r *outage.Report, lost func()) *link {
	ctx, end := context.WithCancel(context.Background())
	l := &link{client: c, report: r, lost: lost, max: max, end: end, wake: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		idle: make(chan struct{}), wanted: map[channel]func(string, string){}, touched: map[channel]bool{}, settled: make(chan struct{}), open: true}
	l.done.Go(func() { l.run(ctx) })
	l.done.Go(func() { l.send(ctx) })
	return l
}

// run keeps the link up.
func (l *link) run(ctx context.Context) {
	pause := shortestPause
	for {
		wasUp, err := l.session(ctx)
		if ctx.Err() != nil {
			return
		}
		l.report.Away(err)
		if wasUp {
			pause = shortestPause
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, longestPause)
	}
}

// session connects, subscribes, and takes what comes until that breaks.
func (l *link) session(ctx context.Context) (wasUp bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := l.client.Ping(ctx).Err(); err != nil {
		return false, err
	}
	ps := l.client.Subscribe(ctx)
	s := &session{link: l, ps: ps, applied: map[channel]bool{}, pending: map[channel]bool{hello: true}}
	// Whatever ends the session, closing wakes who reads.
	stop := context.AfterFunc(ctx, func() { _ = ps.Close() })
	var applying sync.WaitGroup
	defer func() {
		cancel(nil)
		stop()
		_ = ps.Close()
		applying.Wait()
		l.down()
	}()
	l.mu.Lock()
	l.broken = cancel
	clear(l.touched)
	for c := range l.wanted {
		l.touched[c] = true
	}
	l.mu.Unlock()
	if err := ps.Subscribe(ctx, hello.name); err != nil {
		return false, err
	}
	applying.Go(func() { s.apply(ctx, cancel) })
	err = s.receive(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wasUp, err
}

// down is the end of a session.
func (l *link) down() {
	l.mu.Lock()
	wasUp := l.up
	l.up, l.broken = false, nil
	lost := len(l.queue)
	l.queue, l.bytes = nil, 0
	l.unsettleLocked()
	l.mu.Unlock()
	l.report.Lost(lost)
	if wasUp {
		l.lost()
	}
}

func (l *link) unsettleLocked() {
	if !l.open {
		l.settled, l.open = make(chan struct{}), true
	}
}

// subscribe has f called for what comes on the channels, by one goroutine.
func (l *link) subscribe(channels []channel, f func(channel, payload string)) {
	l.mu.Lock()
	for _, c := range channels {
		l.wanted[c] = f
		l.touched[c] = true
	}
	l.unsettleLocked()
	l.mu.Unlock()
	signal(l.changed)
}

func (l *link) unsubscribe(channels []channel) {
	l.mu.Lock()
	for _, c := range channels {
		delete(l.wanted, c)
		l.touched[c] = true
	}
	l.unsettleLocked()
	l.mu.Unlock()
	signal(l.changed)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// settle waits until all that is subscribed to is confirmed.
func (l *link) settle(ctx context.Context) error {
	for {
		l.mu.Lock()
		settled, open := l.settled, l.open
		l.mu.Unlock()
		if !open {
			return nil
		}
		select {
		case <-settled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// session is what one connection is subscribed to.
type session struct {
	link *link
	ps   *redis.PubSub

	mu      sync.Mutex // guards what follows; inside of the link's
	wasUp   bool
	applied map[channel]bool
	pending map[channel]bool // asked for, and not confirmed
}

// apply subscribes to what is wanted, again whenever that changes.
func (s *session) apply(ctx context.Context, failed context.CancelCauseFunc) {
	l := s.link
	signal(l.changed) // what was wanted before
	for {
		select {
		case <-l.changed:
		case <-ctx.Done():
			return
		}
		var add, remove [3][]string
		l.mu.Lock()
		s.mu.Lock()
		for c := range l.touched {
			switch wanted := l.wanted[c] != nil; {
			case wanted && !s.applied[c]:
				s.applied[c], s.pending[c] = true, true
				add[c.kind] = append(add[c.kind], c.name)
			case !wanted && s.applied[c]:
				delete(s.applied, c)
				delete(s.pending, c)
				remove[c.kind] = append(remove[c.kind], c.name)
			}
		}
		clear(l.touched)
		s.mu.Unlock()
		l.mu.Unlock()
		err := errors.Join(
			each(ctx, s.ps.Unsubscribe, remove[plain]), each(ctx, s.ps.PUnsubscribe, remove[pattern]), each(ctx, s.ps.SUnsubscribe, remove[shard]),
			each(ctx, s.ps.Subscribe, add[plain]), each(ctx, s.ps.PSubscribe, add[pattern]), each(ctx, s.ps.SSubscribe, add[shard]))
		if err != nil {
			failed(fmt.Errorf("subscribe: %w", err))
			return
		}
		s.check()
	}
}

// each calls f for some of the names at a time: none would mean all, and thousands make a
// command that holds up others.
func each(ctx context.Context, f func(context.Context, ...string) error, names []string) error {
	for len(names) > 0 {
		n := min(len(names), batch)
		if err := f(ctx, names[:n]...); err != nil {
			return err
		}
		names = names[n:]
	}
	return nil
}

// check looks whether all that is wanted is confirmed. The link is up from the first time
// on: who is heard then hears what is answered.
func (s *session) check() {
	l := s.link
	l.mu.Lock()
	s.mu.Lock()
	confirmed := len(s.pending) == 0 && len(l.touched) == 0
	came := confirmed && !l.up && l.broken != nil
	if came {
		l.up, s.wasUp = true, true
	}
	if confirmed && l.up && l.open {
		l.open = false
		close(l.settled)
	}
	s.mu.Unlock()
	l.mu.Unlock()
	if came {
		l.report.Back()
	}
}

// receive takes what comes. It returns when the connection is broken.
func (s *session) receive(ctx context.Context) error {
	asked := false
	began := time.Now()
	up := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.wasUp
	}
	for {
		got, err := s.ps.ReceiveTimeout(ctx, silence)
		if err != nil {
			var timeout interface{ Timeout() bool }
			if !errors.As(err, &timeout) || !timeout.Timeout() || ctx.Err() != nil {
				return err
			}
			if asked {
				return fmt.Errorf("no answer in %v", silence)
			}
			asked = true
			if err := s.ps.Ping(ctx); err != nil {
				return err
			}
			continue
		}
		asked = false
		switch m := got.(type) {
		case *redis.Subscription:
			s.confirmed(m)
		case *redis.Message:
			s.dispatch(m)
		}
		if !up() && time.Since(began) > answering {
			return fmt.Errorf("no subscription in %v", answering)
		}
	}
}

func (s *session) confirmed(m *redis.Subscription) {
	kind := plain
	switch m.Kind {
	case "psubscribe":
		kind = pattern
	case "ssubscribe":
		kind = shard
	case "subscribe":
	default:
		return
	}
	s.mu.Lock()
	delete(s.pending, channel{kind, m.Channel})
	s.mu.Unlock()
	s.check()
}

func (s *session) dispatch(m *redis.Message) {
	c := channel{plain, m.Channel}
	if m.Pattern != "" {
		c = channel{pattern, m.Pattern}
	}
	l := s.link
	l.mu.Lock()
	f := l.wanted[c]
	if f == nil && m.Pattern == "" {
		f = l.wanted[channel{shard, m.Channel}]
	}
	l.mu.Unlock()
	if f != nil { // it may be subscribed to no more
		f(m.Channel, m.Payload)
	}
}

// publish has m sent in the background, after what was published before. It is false if
// that is lost.
func (l *link) publish(m message) bool {
	l.mu.Lock()
	if !l.up || l.closing || l.bytes+len(m.payload) > l.max && l.bytes > 0 {
		l.mu.Unlock()
		l.report.Lost(1)
		return false
	}
	l.queue = append(l.queue, m)
	l.bytes += len(m.payload)
	l.mu.Unlock()
	signal(l.wake)
	return true
}

// isUp tells whether others are heard.
func (l *link) isUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up && !l.closing
}

// send sends what is queued.
func (l *link) send(ctx context.Context) {
	for {
		select {
		case <-l.wake:
		case <-ctx.Done():
			return
		}
		for {
			l.mu.Lock()
			some := l.queue[:min(len(l.queue), batch)]
			l.queue = l.queue[len(some):]
			for _, m := range some {
				l.bytes -= len(m.payload)
			}
			if len(l.queue) == 0 {
				l.queue = nil // what was sent is not kept
			}
			l.sending = len(some)
			if len(some) == 0 {
				close(l.idle)
				l.idle = make(chan struct{})
			}
			broken := l.broken
			l.mu.Unlock()
			if len(some) == 0 {
				break
			}
			if err := l.sendBatch(ctx, some); err != nil && broken != nil {
				broken(fmt.Errorf("publish: %w", err))
			}
		}
	}
}

// sendBatch returns an error if the connection is broken.
func (l *link) sendBatch(ctx context.Context, some []message) error {
	pipe := l.client.Pipeline()
	for _, m := range some {
		if m.shard {
			pipe.SPublish(ctx, m.channel, m.payload)
		} else {
			pipe.Publish(ctx, m.channel, m.payload)
		}
	}
	commands, err := pipe.Exec(ctx)
	if err == nil {
		return nil
	}
	lost := 0
	var refused error
	for _, c := range commands {
		if c.Err() == nil {
			continue
		}
		lost++
		var answer redis.Error
		if errors.As(c.Err(), &answer) {
			refused = c.Err()
		}
	}
	l.report.Lost(lost)
	if refused != nil { // the connection is well; Redis says no
		l.report.Refused(refused)
		return nil
	}
	return err
}

// subscribers is how many are subscribed to a channel.
func (l *link) subscribers(ctx context.Context, c channel) (int, error) {
	if !l.isUp() {
		return 0, errAway
	}
	ctx, cancel := context.WithTimeout(ctx, answering)
	defer cancel()
	count := l.client.PubSubNumSub
	if c.kind == shard {
		count = l.client.PubSubShardNumSub
	}
	counts, err := count(ctx, c.name).Result()
	if err != nil {
		return 0, fmt.Errorf("count the workers: %w", err)
	}
	return int(counts[c.name]), nil
}

// close ends the link.
func (l *link) close() error {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		l.done.Wait()
		return nil
	}
	l.closing = true
	idle, waiting := l.idle, l.up && (len(l.queue) > 0 || l.sending > 0)
	l.mu.Unlock()
	if waiting {
		signal(l.wake)
		select {
		case <-idle:
		case <-time.After(flushing):
		}
	}
	l.end()
	err := l.client.Close()
	l.done.Wait()
	return err
}

// escape returns a pattern that matches text alone (Redis, PSUBSCRIBE).
func escape(text string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `\`, `\\`).Replace(text)
}
