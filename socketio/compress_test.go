package socketio_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/chaussette/chaussette/internal/siotest"
	"github.com/chaussette/chaussette/socketio"
)

// poll polls as a client that takes gzip, and returns in what encoding the answer is.
func poll(t *testing.T, c *siotest.Client) string {
	t.Helper()
	w := c.Exchange(http.MethodGet, "", "Accept-Encoding", "gzip")
	if w.Code != http.StatusOK || w.Body.Len() < 40 {
		t.Errorf("status %d, %q", w.Code, w.Body)
	}
	return w.Header().Get("Content-Encoding")
}

// Each way to send has one that is not compressed.
func TestUncompressed(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for name, recovery := range map[string]*socketio.Recovery{"without recovery": nil, "with recovery": {}} {
		t.Run(name, func(t *testing.T) {
			io := newServer(t, &socketio.Options{Recovery: recovery})
			sockets := make(chan *socketio.Socket, 1)
			io.OnConnect(func(s *socketio.Socket) { s.Join("room"); sockets <- s })
			c := connect(t, io, "/")
			s := <-sockets
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			asked := make(chan error, 1)
			ask := func(b socketio.Broadcast) error {
				go func() {
					_, err := b.EmitWithAck(ctx, "e", long)
					asked <- err
				}()
				return nil
			}
			for _, x := range []struct {
				name string
				emit func() error
				want string
			}{
				{"all", func() error { return io.Emit("e", long) }, "gzip"},
				{"all, uncompressed", func() error { return io.Uncompressed().Emit("e", long) }, ""},
				{"a room", func() error { return io.To("room").Emit("e", long) }, "gzip"},
				{"a room, uncompressed", func() error { return io.Uncompressed().To("room").Except("other").Emit("e", long) }, ""},
				{"binary, uncompressed", func() error { return io.To("room").Uncompressed().Emit("e", []byte(long)) }, ""},
				{"one", func() error { return s.Emit("e", long) }, "gzip"},
				{"one, uncompressed", func() error { return s.EmitUncompressed("e", long) }, ""},
				{"one, binary, uncompressed", func() error { return s.EmitUncompressed("e", []byte(long)) }, ""},
				{"with an ack", func() error { return ask(io.To("room")) }, "gzip"},
				{"with an ack, uncompressed", func() error { return ask(io.To("room").Uncompressed()) }, ""},
			} {
				if err := x.emit(); err != nil {
					t.Error(err)
				}
				if got := poll(t, c); got != x.want {
					t.Errorf("%s: Content-Encoding %q, want %q", x.name, got, x.want)
				}
			}
			cancel()
			for range 2 {
				if err := <-asked; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
		})
	}
}

// What a client has missed is compressed, or not, as it was to be.
func TestUncompressedWhenItIsMissed(t *testing.T) {
	for name, want := range map[string]string{"uncompressed": "", "compressed": "gzip"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				io := socketio.NewServer(&socketio.Options{Recovery: &socketio.Recovery{}})
				defer io.Close()
				c := siotest.Open(t, io)
				c.Send("40")
				welcome := c.Next()
				pid := welcome[strings.Index(welcome, `"pid":"`)+7 : len(welcome)-2]
				_ = io.Emit("before")
				offset := strings.TrimSuffix(strings.TrimPrefix(c.Next(), `42["before","`), `"]`)
				c.Send("1")
				synctest.Wait()
				missed := io.To()
				if want == "" {
					missed = missed.Uncompressed()
				}
				if err := missed.Emit("e", strings.Repeat("x", 2000)); err != nil {
					t.Fatal(err)
				}
				again := siotest.Open(t, io)
				first := make(chan string)
				go func() { first <- again.Next() }()
				synctest.Wait() // the poll is there, and takes the welcome alone
				again.Send(fmt.Sprintf(`40{"pid":%q,"offset":%q}`, pid, offset))
				if p := <-first; p != welcome {
					t.Fatalf("%s, want %s", p, welcome)
				}
				if got := poll(t, again); got != want {
					t.Errorf("Content-Encoding %q, want %q", got, want)
				}
			})
		})
	}
}
