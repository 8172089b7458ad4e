package wstest

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/chaussette/chaussette/ws"
)

// NewEngine makes an Engine with a Config. The suite closes it.
type NewEngine func(t testing.TB, config ws.Config) ws.Engine

// Server serves an app on an engine at a TCP address.
type Server struct {
	Engine  ws.Engine
	Address string
}

// Start starts a Server that ends with the test: Serve, or another way to serve.
type Start func(t testing.TB, engine ws.Engine, app http.Handler) *Server

// Serve is the Start of net/http.
func Serve(t testing.TB, engine ws.Engine, app http.Handler) *Server {
	t.Helper()
	s := httptest.NewUnstartedServer(app)
	s.Config.BaseContext = func(net.Listener) context.Context {
		return ws.WithEngine(context.Background(), engine)
	}
	s.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := engine.Close(ctx); err != nil {
			t.Errorf("close the engine: %v", err)
		}
		s.Close()
	})
	return &Server{Engine: engine, Address: s.Listener.Addr().String()}
}

// Pair returns both ends of a connection in memory, open, without HTTP. The server's end
// is a Unix socket, so that an event loop can carry it, too.
func Pair(t testing.TB, engine ws.Engine, deflate *ws.DeflateParams) (*ws.Conn, *Client) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatalf("socketpair: %v", err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "pair")
		if ends[i], err = net.FileConn(f); err != nil {
			t.Fatalf("socketpair: %v", err)
		}
		f.Close()
	}
	t.Cleanup(func() { ends[1].Close() })
	c, err := engine.Attach(ends[0], nil, &ws.Handshake{Config: engine.Config(), Deflate: deflate})
	if err != nil {
		t.Fatalf("attach: %v", err)
	}
	client := NewClient(t, ends[1])
	client.deflate = deflate != nil
	return c, client
}

// Pipe is Pair on a net.Pipe, for tests on the fake clock of testing/synctest. The engine
// has to be one that carries any net.Conn, as ws/gorilla.
func Pipe(t testing.TB, engine ws.Engine, deflate *ws.DeflateParams) (*ws.Conn, *Client) {
	t.Helper()
	server, peer := net.Pipe()
	t.Cleanup(func() { peer.Close() })
	client := NewClient(t, peer)
	client.deflate = deflate != nil
	c, err := engine.Attach(server, nil, &ws.Handshake{Config: engine.Config(), Deflate: deflate})
	if err != nil {
		t.Fatalf("attach: %v", err)
	}
	return c, client
}

// Echo is a Handler that sends back what comes.
type Echo struct{}

// Open implements ws.Handler.
func (Echo) Open(*ws.Conn) {}

// Message implements ws.Handler.
func (Echo) Message(c *ws.Conn, typ ws.MessageType, p []byte) { c.Send(typ, p) }

// Close implements ws.Handler.
func (Echo) Close(*ws.Conn, *ws.CloseError) {}

// EchoApp serves Echo. If blocking, it does so with Read and Write.
func EchoApp(blocking bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !blocking {
			ws.Serve(w, r, nil, Echo{})
			return
		}
		c, err := ws.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close(ws.StatusNormal, "")
		for {
			typ, p, err := c.Read(context.Background())
			if err != nil {
				return
			}
			if c.Write(context.Background(), typ, p) != nil {
				return
			}
		}
	})
}

// Recorder is a Handler that keeps what it is called with.
type Recorder struct {
	ws.Handler // called as well, if not nil

	mu     sync.Mutex
	events []string
	Ended  chan *ws.CloseError // gets what Close is called with
}

// NewRecorder returns a Recorder around h, which may be nil.
func NewRecorder(h ws.Handler) *Recorder {
	return &Recorder{Handler: h, Ended: make(chan *ws.CloseError, 64)}
}

func (r *Recorder) note(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event)
}

// Events is what has happened so far: "open", "text hello", "close 1000 normal".
func (r *Recorder) Events() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.events...)
}

// Open implements ws.Handler.
func (r *Recorder) Open(c *ws.Conn) {
	r.note("open")
	if r.Handler != nil {
		r.Handler.Open(c)
	}
}

// Message implements ws.Handler.
func (r *Recorder) Message(c *ws.Conn, typ ws.MessageType, p []byte) {
	r.note(typ.String() + " " + string(p))
	if r.Handler != nil {
		r.Handler.Message(c, typ, p)
	}
}

// Close implements ws.Handler.
func (r *Recorder) Close(c *ws.Conn, err *ws.CloseError) {
	r.note("close " + err.Code.String())
	if r.Handler != nil {
		r.Handler.Close(c, err)
	}
	r.Ended <- err
}
