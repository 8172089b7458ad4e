package siblings

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

// Tag names a worker among those of one socket: letters, digits, - and _. A worker that
// is started anew has another one.
type Tag string

// TagLength is the length of every Tag, in bytes.
const TagLength = 4

// Kind says what a message is for, and with it who handles it.
type Kind byte

// The kinds there are. They lie here so that no two packages take the same.
const (
	kindHello   Kind = iota // the first frame of each side
	Connections             // a connection that is handed over, or a request in its stead
	SocketIO                // packets and requests of namespaces
	Groups                  // broadcasts to groups of WebSockets
	Testing                 // for tests
	kinds
)

// Message is what a sibling has sent.
type Message struct {
	From Tag
	// Payload is the handler's to keep.
	Payload []byte
	// FD is a descriptor that came with it, close-on-exec, which is the handler's to
	// close; -1 is none.
	FD int
}

// Options say how a worker meets its siblings.
type Options struct {
	// Key names the socket that the workers share, the same in all of them and no other
	// socket's: listener.Listener.Identity.
	Key string
	// Base is where the folder of the user's sockets is made; empty is $XDG_RUNTIME_DIR
	// where that is the user's, and else the system's temporary folder.
	Base string
	// MaxMessage bounds a message, in bytes; 0 is 32 MiB. Send refuses what is larger.
	MaxMessage int
	// MaxQueue bounds what waits for a sibling, in bytes; 0 is 32 MiB. Past it the sibling
	// is dropped. An empty queue takes any one message.
	MaxQueue int
	// StallTimeout is how long a sibling may take nothing while something waits for it,
	// until it is dropped; 0 is 5 s.
	StallTimeout time.Duration
	// Logger hears of those who come and go. Nil discards.
	Logger *slog.Logger
}

func (o *Options) withDefaults() Options {
	var w Options
	if o != nil {
		w = *o
	}
	w.MaxMessage = cmp.Or(w.MaxMessage, 32<<20)
	w.MaxQueue = cmp.Or(w.MaxQueue, 32<<20)
	w.StallTimeout = cmp.Or(w.StallTimeout, 5*time.Second)
	if w.Base == "" {
		w.Base = defaultBase()
	}
	if w.Logger == nil {
		w.Logger = slog.New(slog.DiscardHandler)
	}
	return w
}

// Errors of sending.
var (
	// ErrGone: there is no such sibling, or not any more.
	ErrGone = errors.New("no such sibling")
	// ErrTooLarge: the message is over Options.MaxMessage.
	ErrTooLarge = errors.New("a message to siblings is too large")
)

// Siblings are the other workers on a socket. Its methods may be called from any
// goroutine; none waits for a sibling.
type Siblings struct {
	options  Options
	log      *slog.Logger
	tag      Tag
	folder   *folder
	listener *net.UnixListener
	handlers [kinds]handler // until Start

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu       sync.Mutex // guards what follows
	watchers []func(Tag, bool)
	peers    map[Tag]*peer
	dialing  map[Tag]bool
	away     map[Tag]bool          // those that were dropped or lost, and may come back
	strange  map[Tag]bool          // of another version
	conns    map[net.Conn]struct{} // before their hello
	closed   bool
}

// Open takes a Tag, and makes the folder and the worker's place in it. Nobody sees the
// worker before Start.
func Open(options *Options) (*Siblings, error) {
	o := options.withDefaults()
	if o.Key == "" {
		return nil, errors.New("siblings: the socket has no key")
	}
	s := &Siblings{options: o, log: o.Logger, peers: map[Tag]*peer{}, dialing: map[Tag]bool{}, away: map[Tag]bool{},
		strange: map[Tag]bool{}, conns: map[net.Conn]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	var err error
	// The last one to leave removes the folder: it may go while we come.
	for range 5 {
		if s.folder, err = openFolder(o.Base, o.Key); err != nil {
			continue
		}
		s.tag = newTag()
		if s.listener, err = s.folder.listen(s.tag); err == nil {
			return s, nil
		}
		s.folder.close()
	}
	s.cancel()
	return nil, fmt.Errorf("siblings: %w", err)
}

func newTag() Tag {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	b := make([]byte, TagLength)
	_, _ = rand.Read(b)
	for i := range b {
		b[i] = alphabet[b[i]&63]
	}
	return Tag(b)
}

// Key is what the siblings have in common: Options.Key.
func (s *Siblings) Key() string { return s.options.Key }

// Tag is this worker's own.
func (s *Siblings) Tag() Tag { return s.tag }

// Handle has f called for messages of this kind: those of one sibling one after another,
// in the order in which it has sent them, and those of several at once. f must not block.
// It is called before Start.
// A sibling that sends a descriptor with one is dropped.
func (s *Siblings) Handle(k Kind, f func(Message)) { s.handlers[k] = handler{f: f} }

// Take is Handle for messages that may come with a descriptor.
func (s *Siblings) Take(k Kind, f func(Message)) { s.handlers[k] = handler{f: f, takes: true} }

// GiveBack has f called for each message of this kind that was handed over to a sibling which
// left, or was dropped, before it was sent. The descriptor is that which HandOver made, and
// f's to close; without an f it is closed. f must not block. It is called before Start, and
// after Take.
func (s *Siblings) GiveBack(k Kind, f func(to Tag, payload []byte, fd int)) { s.handlers[k].back = f }

// handler gets the messages of a kind.
type handler struct {
	f     func(Message)
	takes bool // descriptors
	back  func(to Tag, payload []byte, fd int)
}

// Watch has f called with true when a sibling has joined, before anything that it sends,
// and with false when it has left, after that. Those who are there are told at once. f
// must not block.
func (s *Siblings) Watch(f func(t Tag, joined bool)) {
	s.mu.Lock()
	s.watchers = append(slices.Clip(s.watchers), f)
	var there []Tag
	for t := range s.peers {
		there = append(there, t)
	}
	s.mu.Unlock()
	for _, t := range there {
		f(t, true)
	}
}

// meeting bounds how long Start waits for siblings to answer.
const meeting = time.Second

// Start makes the worker known, and meets those who are there. It returns when they have
// answered; a stopped one it does not wait for.
func (s *Siblings) Start() error {
	s.tasks.Go(s.accept)
	if err := s.folder.publish(s.tag); err != nil {
		return fmt.Errorf("siblings: %w", err)
	}
	tags, err := s.folder.tags()
	if err != nil {
		return fmt.Errorf("siblings: %w", err)
	}
	var met sync.WaitGroup
	for _, t := range tags {
		if t != s.tag {
			met.Add(1)
			s.dial(t, 0, met.Done)
		}
	}
	done := make(chan struct{})
	s.tasks.Go(func() { met.Wait(); close(done) })
	s.tasks.Go(func() { s.folder.sweep(s.ctx) })
	select {
	case <-done:
	case <-time.After(meeting):
		s.log.Warn("some siblings do not answer; they are met when they do")
	}
	return nil
}

// Peers are the siblings there are.
func (s *Siblings) Peers() []Tag {
	s.mu.Lock()
	defer s.mu.Unlock()
	tags := make([]Tag, 0, len(s.peers))
	for t, p := range s.peers {
		if p.alive() {
			tags = append(tags, t)
		}
	}
	return tags
}

// Has tells whether there is a sibling of this tag.
func (s *Siblings) Has(t Tag) bool { return s.peer(t) != nil }

// Away tells whether a sibling is not there, and may come, or come back: it has been dropped,
// or does not answer, since it is stopped, and as far as is known its process has not ended.
func (s *Siblings) Away(t Tag) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[t]
	return (s.away[t] || s.dialing[t]) && (p == nil || !p.alive())
}

func (s *Siblings) peer(t Tag) *peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.peers[t]; p != nil && p.alive() {
		return p
	}
	return nil
}

// Send sends a message to one sibling. The payload is copied.
func (s *Siblings) Send(to Tag, k Kind, payload []byte) error { return s.send(to, k, payload, -1) }

// HandOver is Send with a duplicate of a descriptor; fd itself stays the caller's.
func (s *Siblings) HandOver(to Tag, k Kind, payload []byte, fd int) error {
	own, err := duplicate(fd)
	if err != nil {
		return fmt.Errorf("siblings: hand over: %w", err)
	}
	if err := s.send(to, k, payload, own); err != nil {
		closeFD(own)
		return err
	}
	return nil
}

func (s *Siblings) send(to Tag, k Kind, payload []byte, fd int) error {
	if len(payload) > s.options.MaxMessage {
		return ErrTooLarge
	}
	p := s.peer(to)
	if p == nil {
		return ErrGone
	}
	return p.push(item{frame: newFrame(k, fd >= 0, payload), fd: fd})
}

// Broadcast sends a message to every sibling, and returns to which. The payload, which may
// be given in parts, is copied once for all.
func (s *Siblings) Broadcast(k Kind, payload ...[]byte) ([]Tag, error) {
	if sizeOf(payload) > s.options.MaxMessage {
		return nil, ErrTooLarge
	}
	s.mu.Lock()
	if len(s.peers) == 0 {
		s.mu.Unlock()
		return nil, nil
	}
	peers := make([]*peer, 0, len(s.peers))
	for _, p := range s.peers {
		peers = append(peers, p)
	}
	s.mu.Unlock()
	sent := make([]Tag, 0, len(peers))
	frame := newFrame(k, false, payload...)
	for _, p := range peers {
		if p.push(item{frame: frame, fd: -1}) == nil {
			sent = append(sent, p.tag)
		}
	}
	return sent, nil
}

// flushing bounds how long Close waits for siblings to take what they were sent.
const flushing = time.Second

// Close leaves: what was sent before still arrives, if the siblings take it within a
// second; and what they have sent is handled.
func (s *Siblings) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	peers := make([]*peer, 0, len(s.peers))
	for _, p := range s.peers {
		peers = append(peers, p)
	}
	s.mu.Unlock()
	s.folder.leave(s.tag)
	late := time.After(flushing)
	for _, p := range peers {
		p.flush(late)
	}
	s.cancel()
	_ = s.listener.Close()
	for _, p := range peers {
		p.drop(errClosing)
	}
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.tasks.Wait()
	s.folder.close()
	return nil
}

func (s *Siblings) tell(t Tag, joined bool) {
	s.mu.Lock()
	watchers := s.watchers
	s.mu.Unlock()
	for _, f := range watchers {
		f(t, joined)
	}
}
