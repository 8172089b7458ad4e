package redis

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/parser"
)

// request waits for the answers of workers on Redis. They are told from anywhere, and
// looked into by who asks.
type request struct {
	space   *space
	id      string
	near    near
	waiting int       // workers that have not answered; of who asks alone
	until   time.Time // how long they may take

	mu          sync.Mutex // guards what follows
	answers     []*envelope
	interrupted bool          // Redis was lost: nothing comes any more
	more        chan struct{} // holds a value when something has changed
}

// begin makes a request of the workers on Redis, but those near, which have it all the
// same, and say so.
func (s *space) begin(ctx context.Context, e *envelope) (*request, error) {
	q := &request{space: s, near: e.near, until: time.Now().Add(s.broker.options.Timeout), more: make(chan struct{}, 1)}
	limited, cancel := context.WithDeadline(ctx, q.until)
	defer cancel()
	n, err := s.dialect.workers(limited)
	if err != nil {
		return nil, err
	}
	q.waiting = n - 1
	if q.waiting <= 0 {
		return q, nil
	}
	s.mu.Lock()
	s.numbers++
	q.id = fmt.Sprintf("%s-%d", s.broker.uid, s.numbers)
	s.requests[q.id] = q
	s.mu.Unlock()
	e.request = q.id
	if err := s.send(e, nil); err != nil {
		q.end()
		return nil, err
	}
	if !s.broker.link.isUp() { // it was lost before q was there to be interrupted
		q.interrupt()
	}
	return q, nil
}

func (q *request) end() {
	q.space.mu.Lock()
	delete(q.space.requests, q.id)
	q.space.mu.Unlock()
}

func (q *request) tell(e *envelope) {
	q.mu.Lock()
	q.answers = append(q.answers, e)
	q.mu.Unlock()
	signal(q.more)
}

func (q *request) interrupt() {
	q.mu.Lock()
	q.interrupted = true
	q.mu.Unlock()
	signal(q.more)
}

// interrupt ends what waits for answers.
func (s *space) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.requests {
		q.interrupt()
	}
}

func (q *request) take() ([]*envelope, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.answers
	q.answers = nil
	return all, q.interrupted
}

// gather calls each for the answers of the kind, until all workers have given theirs.
func (q *request) gather(ctx context.Context, want kind, each func(*envelope)) error {
	defer q.end()
	ctx, cancel := context.WithDeadline(ctx, q.until)
	defer cancel()
	for q.waiting > 0 {
		select {
		case <-q.more:
		case <-ctx.Done():
			return ctx.Err()
		}
		all, interrupted := q.take()
		for _, e := range all {
			if e.kind != want || q.waiting == 0 {
				continue
			}
			q.waiting--
			if !e.skipped {
				each(e)
			}
		}
		if interrupted && q.waiting > 0 {
			return errAway
		}
	}
	return nil
}

// collect makes a request, has act do the same among the siblings, and gathers the answers
// of the other workers.
func (s *space) collect(ctx context.Context, e *envelope, want kind, act func(near *near) error, each func(*envelope)) error {
	e.near = near{s.broker.group, s.Others()}
	q, err := s.begin(ctx, e)
	siblings := act(&e.near)
	if err == nil {
		err = q.gather(ctx, want, each)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", adapter.ErrPartial, err)
	}
	return siblings
}

// Fetch implements adapter.Adapter.
func (s *space) Fetch(ctx context.Context, o adapter.Opts) (found []adapter.Description, err error) {
	if s.here(o) {
		return s.Adapter.Fetch(ctx, o)
	}
	err = s.collect(ctx, &envelope{kind: fetch, opts: o}, fetched, func(n *near) (err error) {
		found, err = s.Among(n.tags).Fetch(ctx, o)
		return err
	}, func(e *envelope) { found = append(found, e.sockets...) })
	return found, err
}

// AllRooms implements adapter.Adapter.
func (s *space) AllRooms(ctx context.Context) (all []adapter.Room, err error) {
	known := map[adapter.Room]bool{}
	add := func(rooms []adapter.Room) {
		for _, r := range rooms {
			if !known[r] {
				known[r] = true
				all = append(all, r)
			}
		}
	}
	e, want := &envelope{kind: allRooms}, rooms
	if s.broker.config.sharded != classic {
		// That format has no such request.
		e, want = &envelope{kind: fetch}, fetched
	}
	err = s.collect(ctx, e, want, func(n *near) error {
		theirs, err := s.Among(n.tags).AllRooms(ctx)
		add(theirs)
		return err
	}, func(e *envelope) {
		add(e.rooms)
		for _, d := range e.sockets {
			add(d.Rooms)
		}
	})
	return all, err
}

// ServerSideEmitAck implements adapter.Adapter.
func (s *space) ServerSideEmitAck(ctx context.Context, data json.RawMessage) (answers []json.RawMessage, err error) {
	e := &envelope{kind: serverSide, packet: parser.Raw{JSON: data}}
	err = s.collect(ctx, e, serverSided, func(n *near) (err error) {
		answers, err = s.Among(n.tags).ServerSideEmitAck(ctx, data)
		return err
	}, func(e *envelope) { answers = append(answers, arguments(e.packet).JSON) })
	return answers, err
}

// BroadcastAck implements adapter.Adapter.
func (s *space) BroadcastAck(ctx context.Context, p *adapter.Packet, o adapter.Opts, ack func(parser.Raw)) (int, error) {
	if s.here(o) {
		return s.Adapter.BroadcastAck(ctx, p, o, ack)
	}
	e := &envelope{kind: ask, opts: o, near: near{s.broker.group, s.Others()}, uncompressed: p.Uncompressed, packet: parser.Raw{JSON: p.Data, Attachments: p.Attachments}}
	if end, ok := ctx.Deadline(); ok {
		// How long the others need to wait for their clients.
		e.opts.Flags.Timeout = max(time.Until(end), time.Millisecond)
	}
	q, away := s.begin(ctx, e)
	var one sync.Mutex // acks come one at a time
	type result struct {
		expected int
		err      error
	}
	siblings := make(chan result, 1)
	go func() {
		n, err := s.Among(e.near.tags).BroadcastAck(ctx, p, o, func(r parser.Raw) {
			one.Lock()
			defer one.Unlock()
			ack(r)
		})
		siblings <- result{n, err}
	}()
	expected, err := 0, away
	if away == nil {
		expected, err = q.acks(ctx, func(r parser.Raw) {
			one.Lock()
			defer one.Unlock()
			ack(r)
		})
	}
	near := <-siblings
	expected += near.expected
	switch {
	case ctx.Err() != nil && (near.err != nil || err != nil):
		return expected, ctx.Err()
	case err != nil:
		return expected, fmt.Errorf("%w: %w", adapter.ErrPartial, err)
	}
	return expected, near.err
}

// acks passes on the acks of other workers' clients, until there are as many as those
// workers have asked. A worker that does not say how many in time is not waited for.
func (q *request) acks(ctx context.Context, ack func(parser.Raw)) (expected int, err error) {
	defer q.end()
	late := time.NewTimer(time.Until(q.until))
	defer late.Stop()
	got := 0
	for q.waiting > 0 || got < expected {
		select {
		case <-q.more:
		case <-late.C:
			if q.waiting > 0 {
				err = fmt.Errorf("%d workers do not answer", q.waiting)
				q.waiting = 0
			}
			continue
		case <-ctx.Done():
			return expected, ctx.Err()
		}
		all, interrupted := q.take()
		for _, e := range all {
			switch {
			case e.kind == counted && q.waiting > 0:
				q.waiting--
				expected += max(e.count, 0)
			case e.kind == acked:
				got++
				ack(arguments(e.packet))
			}
		}
		if interrupted && (q.waiting > 0 || got < expected) {
			return expected, errAway
		}
	}
	return expected, err
}
