package gorilla

import (
	"bufio"
	"context"
	"fmt"
	"iter"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chaussette/chaussette/loop/wheel"
	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/internal/frame"
)

// Engine is a ws.Engine. Make one with New.
type Engine struct {
	config *ws.Config
	start  time.Time
	wheel  *wheel.Wheel
	stop   context.CancelFunc
	tasks  sync.WaitGroup // goroutines of the engine's, handlers included

	mu     sync.Mutex
	conns  map[*conn]struct{}
	closed bool
	empty  chan struct{} // closed when there is none left after Close; or nil
}

var _ ws.Engine = (*Engine)(nil)

// New starts an Engine; nil stands for the zero Config. It runs until Close.
func New(config *ws.Config) *Engine {
	if config == nil {
		config = &ws.Config{}
	}
	config = config.WithDefaults()
	config.Deflate.NoContextTakeover = true // the library takes no context over
	config.Deflate.WindowBits = 15
	ctx, stop := context.WithCancel(context.Background())
	e := &Engine{config: config, start: time.Now(), wheel: wheel.New(), stop: stop, conns: map[*conn]struct{}{}}
	e.tasks.Go(func() { e.wheel.Run(ctx) })
	return e
}

// Config implements ws.Engine.
func (e *Engine) Config() *ws.Config { return e.config }

// Len implements ws.Engine.
func (e *Engine) Len() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.conns)
}

// Conns implements ws.Engine.
func (e *Engine) Conns() iter.Seq[*ws.Conn] {
	return func(yield func(*ws.Conn) bool) {
		e.mu.Lock()
		all := slices.Collect(maps.Keys(e.conns))
		e.mu.Unlock()
		for _, c := range all {
			if !yield(&c.link.Conn) {
				return
			}
		}
	}
}

// Wrap returns h with e as the Engine that ws.Accept finds.
func (e *Engine) Wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(ws.WithEngine(r.Context(), e)))
	})
}

// Attach implements ws.Engine.
func (e *Engine) Attach(nc net.Conn, buffered []byte, h *ws.Handshake) (*ws.Conn, error) {
	nc.SetDeadline(time.Time{}) // those of the HTTP server
	c := &conn{engine: e}
	c.stream.init(nc, buffered, c)
	c.link.Init((*wire)(c), c, h)
	library, err := open(&c.stream, h)
	if err != nil {
		nc.Close()
		return nil, err
	}
	c.library = library
	c.stream.guard.compression, c.stream.guard.max = h.Deflate != nil, h.Config.MaxMessageSize
	c.lastRead.Store(time.Since(e.start).Milliseconds())
	library.SetPingHandler(func(p string) error { return c.link.Control(frame.Ping, []byte(p)) })
	library.SetPongHandler(func(p string) error { return c.link.Control(frame.Pong, []byte(p)) })
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		nc.Close()
		return nil, net.ErrClosed
	}
	e.conns[c] = struct{}{}
	e.mu.Unlock()

	c.mu.Lock()
	defer c.mu.Unlock()
	c.stream.write(nil, h.Response, true)
	if d := h.Config.PingInterval; d > 0 {
		(*wire)(c).SetDeadline(d)
	}
	return &c.link.Conn, nil
}

// open makes the library believe in a handshake: ours is done, with rules that hold for
// both engines. What it answers goes nowhere.
func open(s *stream, h *ws.Handshake) (*websocket.Conn, error) {
	upgrader, r := &plain, request
	if h.Deflate != nil {
		upgrader, r = &compressing, compressingRequest
	}
	s.mute = true
	defer func() { s.mute = false }()
	library, err := upgrader.Upgrade(&hijacker{s: s}, r, nil)
	if err != nil {
		return nil, fmt.Errorf("open the library's connection: %w", err)
	}
	return library, nil
}

// Buffers are small, and those for writing shared: most connections are idle.
var (
	plain = websocket.Upgrader{
		ReadBufferSize:  readBuffer,
		WriteBufferSize: writeBuffer,
		WriteBufferPool: &sync.Pool{},
		CheckOrigin:     func(*http.Request) bool { return true },
	}
	compressing = websocket.Upgrader{
		ReadBufferSize:    readBuffer,
		WriteBufferSize:   writeBuffer,
		WriteBufferPool:   plain.WriteBufferPool,
		CheckOrigin:       plain.CheckOrigin,
		EnableCompression: true,
	}
	request            = handshake(false)
	compressingRequest = handshake(true)
)

const (
	readBuffer  = 4096
	writeBuffer = 4096
)

func handshake(compress bool) *http.Request {
	h := http.Header{
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}
	if compress {
		h["Sec-Websocket-Extensions"] = []string{"permessage-deflate"}
	}
	return &http.Request{Method: http.MethodGet, Header: h}
}

// hijacker gives the library our stream.
type hijacker struct {
	http.ResponseWriter
	s *stream
}

func (h *hijacker) Header() http.Header { return http.Header{} }
func (h *hijacker) WriteHeader(int)     {}
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.s, bufio.NewReadWriter(bufio.NewReaderSize(h.s, 16), bufio.NewWriterSize(h.s, 16)), nil
}

// Close implements ws.Engine.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	e.empty = make(chan struct{})
	if len(e.conns) == 0 {
		close(e.empty)
	}
	empty := e.empty
	e.mu.Unlock()
	for c := range e.Conns() {
		c.CloseNow()
	}
	var err error
	select {
	case <-empty:
	case <-ctx.Done():
		err = ctx.Err()
	}
	e.stop()
	if err == nil {
		e.tasks.Wait()
	}
	return err
}

func (e *Engine) remove(c *conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.conns, c)
	if e.empty != nil && len(e.conns) == 0 {
		select {
		case <-e.empty:
		default:
			close(e.empty)
		}
	}
}
