package wstest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/ws"
)

// await waits until something holds.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func dialTCP(t testing.TB, address string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

// open returns both ends of a connection in memory on an engine of its own.
func open(t testing.TB, newEngine NewEngine, config ws.Config) (*ws.Conn, *Client) {
	engine := newEngine(t, config)
	closeAfter(t, engine)
	return Pair(t, engine, nil)
}

func ended(t testing.TB, r *Recorder) *ws.CloseError {
	t.Helper()
	select {
	case err := <-r.Ended:
		return err
	case <-time.After(Patience):
		t.Fatal("the handler's Close was not called")
		return nil
	}
}

func runBehaviour(t *testing.T, newEngine NewEngine, start Start) {
	ctx := context.Background()

	t.Run("calls in order", func(t *testing.T) {
		c, client := open(t, newEngine, defaults)
		r := NewRecorder(nil)
		client.Frames(F(Text, "first"), F(Binary, "second"))
		c.Serve(r)
		client.Frames(F(Text, "third"), CloseFrame(4001, "done"))
		err := ended(t, r)
		want := []string{"open", "text first", "binary second", "text third", "close 4001"}
		if got := r.Events(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if err.Code != 4001 || err.Reason != "done" || err.Local || err.Err != nil || !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed with %#v", err)
		}
		client.ExpectClose(4001)
	})

	t.Run("closed by the app", func(t *testing.T) {
		c, client := open(t, newEngine, defaults)
		r := NewRecorder(nil)
		c.Serve(r)
		if err := c.Close(4002, strings.Repeat("é", 100)); err != nil {
			t.Fatal(err)
		}
		client.Expect(CloseFrame(4002, strings.Repeat("é", 61)))
		client.Frames(F(Text, "late"), CloseFrame(4002, ""))
		client.ExpectEOF()
		if err := ended(t, r); err.Code != 4002 || !err.Local || err.Err != nil {
			t.Errorf("closed with %#v", err)
		}
		if got := r.Events(); !slices.Equal(got, []string{"open", "close 4002"}) {
			t.Errorf("got %q", got)
		}
		if err := c.Close(ws.StatusNormal, ""); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
		if err := c.Send(ws.Text, nil); ws.CloseStatus(err) != 4002 {
			t.Errorf("Send after Close: %v", err)
		}
	})

	t.Run("closed before it is used", func(t *testing.T) {
		c, client := open(t, newEngine, defaults)
		c.Close(ws.StatusGoingAway, "")
		client.Expect(CloseFrame(ws.StatusGoingAway, ""))
		client.Frames(CloseFrame(ws.StatusGoingAway, ""))
		client.ExpectEOF()
		if _, _, err := c.Read(ctx); ws.CloseStatus(err) != ws.StatusGoingAway {
			t.Errorf("Read: %v", err)
		}
		r := NewRecorder(nil)
		c.Serve(r)
		ended(t, r)
	})

	t.Run("codes that must not be sent", func(t *testing.T) {
		c, client := open(t, newEngine, defaults)
		for _, code := range []ws.StatusCode{0, 999, 1004, 1006, 1015, 1016, 2999, 5000} {
			if c.Close(code, "") == nil {
				t.Errorf("%d was taken", code)
			}
		}
		c.Close(ws.StatusNone, "")
		client.Expect(F(Close, ""))
	})

	t.Run("close timeout", func(t *testing.T) {
		c, client := open(t, newEngine, ws.Config{CloseTimeout: 50 * time.Millisecond})
		r := NewRecorder(nil)
		c.Serve(r)
		c.Close(ws.StatusNormal, "")
		client.Expect(CloseFrame(ws.StatusNormal, ""))
		client.ExpectEOF()
		if err := ended(t, r); err.Code != ws.StatusNormal || !errors.Is(err, ws.ErrCloseTimeout) {
			t.Errorf("closed with %v", err)
		}
	})

	t.Run("pings", func(t *testing.T) {
		c, client := open(t, newEngine, ws.Config{PingInterval: 60 * time.Millisecond, PongTimeout: 100 * time.Millisecond})
		r := NewRecorder(nil)
		c.Serve(r)
		for range 3 {
			client.Expect(F(Ping, ""))
			client.Frames(F(Pong, ""))
		}
		client.Expect(F(Ping, ""))
		client.ExpectEOF()
		if err := ended(t, r); !errors.Is(err, ws.ErrPongTimeout) || err.Code != ws.StatusAbnormal {
			t.Errorf("closed with %v", err)
		}
	})

	t.Run("no pings", func(t *testing.T) {
		c, client := open(t, newEngine, ws.Config{PingInterval: -1})
		c.Serve(Echo{})
		client.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := client.in.ReadByte(); !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
			t.Errorf("got %v", err)
		}
	})

	t.Run("Ping", func(t *testing.T) {
		c, client := open(t, newEngine, defaults)
		c.Serve(Echo{})
		done := make(chan error, 1)
		go func() { done <- c.Ping(ctx) }()
		f, err := client.Next()
		if err != nil || f.Opcode != Ping {
			t.Fatalf("got %v, %v", f, err)
		}
		client.Frames(F(Pong, "another"), F(Pong, string(f.Payload)))
		if err := <-done; err != nil {
			t.Error(err)
		}
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		if err := c.Ping(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a pong: %v", err)
		}
		go func() { done <- c.Ping(ctx) }()
		client.Next()
		client.Next()
		client.Conn.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("at the end: %v", err)
		}
	})

	t.Run("Read", func(t *testing.T) {
		c, client := open(t, newEngine, defaults)
		client.Frames(F(Text, "one"), more(F(Binary, "tw")), F(Continuation, "o"))
		for _, want := range []ws.Message{{Type: ws.Text, Data: []byte("one")}, {Type: ws.Binary, Data: []byte("two")}} {
			typ, p, err := c.Read(ctx)
			if err != nil || typ != want.Type || !bytes.Equal(p, want.Data) {
				t.Fatalf("got %v %q, %v", typ, p, err)
			}
		}
		client.Frames(CloseFrame(4003, "bye"))
		for range 2 {
			if _, _, err := c.Read(ctx); ws.CloseStatus(err) != 4003 || !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v", err)
			}
		}
		client.ExpectClose(4003)
	})

	t.Run("Read until a deadline", func(t *testing.T) {
		c, client := open(t, newEngine, defaults)
		short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
		defer cancel()
		client.Frames(F(Text, "one"))
		if _, _, err := c.Read(short); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Read(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		client.ExpectEOF()
	})

	t.Run("a context that ends between Reads", func(t *testing.T) {
		c, client := open(t, newEngine, defaults)
		early, cancel := context.WithCancel(ctx)
		client.Frames(F(Text, "one"))
		if _, _, err := c.Read(early); err != nil {
			t.Fatal(err)
		}
		cancel()
		client.Frames(F(Text, "two"))
		if _, p, err := c.Read(ctx); err != nil || string(p) != "two" {
			t.Errorf("got %q, %v", p, err)
		}
	})

	t.Run("much to read later", func(t *testing.T) {
		c, client := open(t, newEngine, defaults)
		message := F(Binary, strings.Repeat("x", 10_000))
		go func() {
			for range 200 {
				client.Frames(message)
			}
		}()
		for i := range 200 {
			if _, p, err := c.Read(ctx); err != nil || len(p) != 10_000 {
				t.Fatalf("message %d: %d bytes, %v", i, len(p), err)
			}
		}
	})

	t.Run("Reader", func(t *testing.T) {
		c, client := open(t, newEngine, defaults)
		client.Frames(fragments(Text, "a", "bc", "def")...)
		client.Frames(F(Binary, "rest is skipped"), F(Text, "last"))
		typ, r, err := c.Reader(ctx)
		if err != nil || typ != ws.Text {
			t.Fatalf("got %v, %v", typ, err)
		}
		if p, err := io.ReadAll(r); err != nil || string(p) != "abcdef" {
			t.Errorf("got %q, %v", p, err)
		}
		if _, _, err := c.Reader(ctx); err != nil {
			t.Fatal(err)
		}
		if _, p, err := c.Read(ctx); err != nil || string(p) != "last" {
			t.Errorf("got %q, %v", p, err)
		}
	})

	t.Run("Writer", func(t *testing.T) {
		c, client := open(t, newEngine, defaults)
		w, err := c.Writer(ctx, ws.Text)
		if err != nil {
			t.Fatal(err)
		}
		large := strings.Repeat("y", 5000)
		io.WriteString(w, "begin ")
		io.WriteString(w, large)
		c.Send(ws.Binary, []byte("waits"))
		c.SendPrepared(ws.NewPrepared(ws.Text, []byte("waits, too")))
		io.WriteString(w, " end")
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "more"); err == nil || w.Close() == nil {
			t.Error("the message is finished and takes more")
		}
		client.Expect(more(F(Text, "begin "+large)), F(Continuation, " end"), F(Binary, "waits"), F(Text, "waits, too"))
	})

	t.Run("Prepare", func(t *testing.T) {
		c, client := open(t, newEngine, defaults)
		large := strings.Repeat("z", 70_000)
		p := ws.Prepare(ws.Message{Type: ws.Text, Data: []byte("a")}, ws.Message{Type: ws.Binary, Data: []byte(large)})
		if err := c.SendPrepared(p); err != nil {
			t.Fatal(err)
		}
		client.Expect(F(Text, "a"), F(Binary, large))
	})

	t.Run("slow peer is closed", func(t *testing.T) {
		c, client := open(t, newEngine, ws.Config{MaxQueue: 100_000, PingInterval: -1})
		r := NewRecorder(nil)
		c.Serve(r)
		message := make([]byte, 10_000)
		sent := 0
		var err error
		for ; err == nil && sent < 10_000; sent++ {
			err = c.Send(ws.Binary, message)
		}
		if err == nil || !errors.Is(err, ws.ErrQueueFull) {
			t.Fatalf("%d messages were taken: %v", sent, err)
		}
		if c.Queued() > 130_000 {
			t.Errorf("%d bytes are queued", c.Queued())
		}
		for range sent - 1 {
			client.Expect(F(Binary, string(message)))
		}
		client.ExpectClose(ws.StatusTryAgainLater)
		client.Conn.Close()
		if err := ended(t, r); err.Code != ws.StatusTryAgainLater || !errors.Is(err, ws.ErrQueueFull) || !err.Local {
			t.Errorf("closed with %#v", err)
		}
	})

	t.Run("messages to a slow peer are dropped", func(t *testing.T) {
		c, client := open(t, newEngine, ws.Config{MaxQueue: 100_000, Overflow: ws.OverflowDrop, PingInterval: -1})
		c.Serve(Echo{})
		message := make([]byte, 10_000)
		sent := 0
		for c.Send(ws.Binary, message) == nil {
			sent++
		}
		for range sent {
			client.Expect(F(Binary, string(message)))
		}
		await(t, "room", func() bool { return c.Queued() == 0 })
		c.Send(ws.Text, []byte("goes on"))
		client.Expect(F(Text, "goes on"))
	})

	t.Run("Write waits for a slow peer", func(t *testing.T) {
		c, client := open(t, newEngine, ws.Config{MaxQueue: 100_000, PingInterval: -1})
		message := make([]byte, 10_000)
		done := make(chan error, 1)
		go func() {
			for range 500 {
				if err := c.Write(ctx, ws.Binary, message); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		await(t, "a full queue", func() bool { return c.Queued() > 80_000 })
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		if err := c.Write(short, ws.Text, message); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		for range 500 {
			client.Expect(F(Binary, string(message)))
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})

	t.Run("echoes to a peer that reads late", func(t *testing.T) {
		c, client := open(t, newEngine, ws.Config{MaxQueue: 64 << 20, PingInterval: -1})
		c.Serve(Echo{})
		const messages = 3000
		message := F(Binary, strings.Repeat("x", 1000))
		go client.Send(bytes.Repeat(message.Bytes(), messages))
		await(t, "a queue", func() bool { return c.Queued() > 1<<20 })
		for range messages {
			client.Expect(message)
		}
		await(t, "an empty queue", func() bool { return c.Queued() == 0 })
		client.Bye()
	})

	t.Run("a handler that blocks", func(t *testing.T) {
		engine := newEngine(t, defaults)
		closeAfter(t, engine)
		release := make(chan struct{})
		var stuck, free []*Client
		for i := range 20 {
			c, client := Pair(t, engine, nil)
			c.Serve(blocker{release})
			if i%2 == 0 {
				client.Frames(F(Text, "block"), F(Text, "x"))
				stuck = append(stuck, client)
			} else {
				free = append(free, client)
			}
		}
		for range 10 {
			for _, client := range free {
				client.Frames(F(Text, "y"))
				client.Expect(F(Text, "y"))
			}
		}
		for _, client := range stuck { // what was sent before the handler blocked is not held back
			client.Expect(F(Text, "blocking"))
		}
		close(release)
		for _, client := range stuck {
			client.Expect(F(Text, "block"), F(Text, "x"))
			client.Bye()
		}
	})

	t.Run("a handler that panics", func(t *testing.T) {
		c, client := open(t, newEngine, defaults)
		r := NewRecorder(panicker{})
		c.Serve(r)
		client.Frames(F(Text, "x"))
		client.ExpectClose(ws.StatusInternalError)
		client.Conn.Close()
		if err := ended(t, r); err.Code != ws.StatusInternalError {
			t.Errorf("closed with %v", err)
		}
	})

	t.Run("the peer leaves without a word", func(t *testing.T) {
		c, client := open(t, newEngine, defaults)
		r := NewRecorder(nil)
		c.Serve(r)
		client.Conn.Close()
		if err := ended(t, r); err.Code != ws.StatusAbnormal || err.Local || err.Err == nil {
			t.Errorf("closed with %#v", err)
		}
	})

	t.Run("CloseNow", func(t *testing.T) {
		c, client := open(t, newEngine, defaults)
		r := NewRecorder(nil)
		c.Serve(r)
		c.CloseNow()
		client.ExpectEOF()
		if err := ended(t, r); err.Code != ws.StatusAbnormal || !err.Local {
			t.Errorf("closed with %#v", err)
		}
	})

	t.Run("Group", func(t *testing.T) {
		engine := newEngine(t, defaults)
		closeAfter(t, engine)
		var all, some ws.Group
		var conns []*ws.Conn
		var clients []*Client
		r := NewRecorder(nil)
		for i := range 5 {
			c, client := Pair(t, engine, nil)
			c.Serve(r)
			if !all.Add(c) || all.Add(c) {
				t.Error("Add must report true once")
			}
			if i < 2 {
				some.Add(c)
			}
			conns, clients = append(conns, c), append(clients, client)
		}
		if n := all.Send(ws.Text, []byte("to all but one"), conns[1]); n != 4 {
			t.Errorf("sent to %d", n)
		}
		some.Send(ws.Text, []byte("to some"))
		for i, client := range clients {
			if i != 1 {
				client.Expect(F(Text, "to all but one"))
			}
			if i < 2 {
				client.Expect(F(Text, "to some"))
			}
		}
		if !all.Remove(conns[2]) || all.Remove(conns[2]) {
			t.Error("Remove must report true once")
		}
		clients[0].Bye()
		ended(t, r)
		if all.Len() != 3 || some.Len() != 1 || all.Add(conns[0]) {
			t.Errorf("%d and %d are left", all.Len(), some.Len())
		}
		all.Send(ws.Binary, []byte("again"))
		for _, i := range []int{1, 3, 4} {
			clients[i].Expect(F(Binary, "again"))
		}
	})

	t.Run("Group with a name", func(t *testing.T) {
		ours, theirs := new(ws.Groups), new(ws.Groups)
		ours.Join(between{theirs})
		theirs.Join(between{ours})
		here, there := newEngine(t, ws.Config{Groups: ours}), newEngine(t, ws.Config{Groups: theirs})
		closeAfter(t, here)
		closeAfter(t, there)
		r := NewRecorder(nil)
		a, onA := Pair(t, here, nil)
		b, onB := Pair(t, here, nil)
		c, onC := Pair(t, there, nil)
		for _, conn := range []*ws.Conn{a, b, c} {
			conn.Serve(r)
			conn.Group("all").Add(conn)
		}
		c.Group("only c").Add(c)
		if n := a.Group("all").Send(ws.Text, []byte("from a"), a); n != 1 {
			t.Errorf("sent to %d here, and there is one but the sender", n)
		}
		ws.GroupFrom(ws.WithEngine(ctx, here), "only c").SendPrepared(ws.Prepare(ws.Message{Type: ws.Text, Data: []byte("first")}, ws.Message{Type: ws.Binary, Data: bytes.Repeat([]byte("x"), 70_000)}))
		ws.GroupFrom(ws.WithGroups(ctx, theirs), "all").Send(ws.Text, []byte("from there"))
		onA.Expect(F(Text, "from there"))
		onB.Expect(F(Text, "from a"), F(Text, "from there"))
		onC.Expect(F(Text, "from a"), F(Text, "first"), F(Binary, strings.Repeat("x", 70_000)), F(Text, "from there"))
	})

	t.Run("values", func(t *testing.T) {
		type key struct{}
		c, _ := open(t, newEngine, defaults)
		if c.Value(key{}) != nil {
			t.Error("there is a value")
		}
		c.SetValue(key{}, 1)
		c.SetValue("other", 2)
		c.SetValue(key{}, 3)
		c.SetValue("other", nil)
		if c.Value(key{}) != 3 || c.Value("other") != nil {
			t.Errorf("got %v and %v", c.Value(key{}), c.Value("other"))
		}
	})

	t.Run("messages from many goroutines", func(t *testing.T) {
		c, client := open(t, newEngine, defaults)
		c.Serve(Echo{})
		for range 8 {
			go func() {
				for range 50 {
					c.Send(ws.Text, []byte("short"))
					c.Write(ctx, ws.Binary, bytes.Repeat([]byte("x"), 20_000))
				}
			}()
		}
		for range 800 {
			f, err := client.Next()
			if err != nil || len(f.Payload) != 5 && len(f.Payload) != 20_000 {
				t.Fatalf("got %v, %v", f, err)
			}
		}
	})

	t.Run("Close of the engine", func(t *testing.T) {
		engine := newEngine(t, defaults)
		r := NewRecorder(nil)
		for range 10 {
			c, _ := Pair(t, engine, nil)
			c.Serve(r)
		}
		Pair(t, engine, nil) // not used at all
		short, cancel := context.WithTimeout(ctx, Patience)
		defer cancel()
		if err := engine.Close(short); err != nil {
			t.Fatal(err)
		}
		if len(r.Ended) != 10 || engine.Len() != 0 {
			t.Errorf("%d handlers were told, %d connections are left", len(r.Ended), engine.Len())
		}
	})

	t.Run("HTTP beside it", func(t *testing.T) {
		app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !ws.IsUpgrade(r) {
				io.WriteString(w, "page")
				return
			}
			ws.Serve(w, r, nil, Echo{})
		})
		server := start(t, newEngine(t, defaults), app)
		r, err := http.Get("http://" + server.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if p, _ := io.ReadAll(r.Body); string(p) != "page" {
			t.Errorf("got %q", p)
		}
		c := Dial(t, server.Address, Handshake{})
		c.Frames(F(Text, "x"))
		c.Expect(F(Text, "x"))
	})
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// blocker blocks on the message "block".
type blocker struct{ release chan struct{} }

func (b blocker) Open(*ws.Conn) {}
func (b blocker) Message(c *ws.Conn, typ ws.MessageType, p []byte) {
	if string(p) == "block" {
		c.Send(ws.Text, []byte("blocking"))
		<-b.release
	}
	c.Send(typ, p)
}
func (b blocker) Close(*ws.Conn, *ws.CloseError) {}

type panicker struct{}

func (panicker) Open(*ws.Conn)                            {}
func (panicker) Message(*ws.Conn, ws.MessageType, []byte) { panic("oh") }
func (panicker) Close(*ws.Conn, *ws.CloseError)           {}

// between is the ws.Bus to one other worker.
type between struct{ to *ws.Groups }

func (b between) Publish(group string, frames []byte) {
	if err := b.to.Deliver(group, bytes.Clone(frames)); err != nil {
		panic(err)
	}
}
