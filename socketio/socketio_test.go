package socketio_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaussette/chaussette/internal/siotest"
	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/socketio/adapter"
	"github.com/chaussette/chaussette/socketio/engineio"
)

func TestHandlers(t *testing.T) {
	var log bytes.Buffer
	io := newServer(t, &socketio.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	type point struct{ X, Y int }
	io.On("nothing", func() {})
	io.On("add", func(a, b int) int { return a + b })
	io.On("two", func(s string) (string, int) { return s, len(s) })
	io.On("struct", func(p point) point { return point{p.Y, p.X} })
	io.On("rest", func(first string, rest ...int) int { return len(first) + len(rest) })
	io.On("fails", func() (int, error) { return 1, errors.New("no") })
	io.On("fails with data", func() error { return &socketio.Error{Message: "no", Data: 7} })
	io.On("panics", func() { panic("at the disco") })
	io.On("by hand", func(e *socketio.Event) { _ = e.Ack("once"); _ = e.Ack("twice") })
	io.On("ctx", func(ctx context.Context, s *socketio.Socket) bool { return ctx.Err() == nil && s.Connected() })
	io.On("raw", func(r socketio.Raw) socketio.Raw { return r })
	io.UseEvent(func(_ *socketio.Socket, e *socketio.Event) error {
		if e.Name == "forbidden" {
			return errors.New("forbidden")
		}
		return nil
	})
	c := connect(t, io, "/")
	for _, x := range []struct{ sent, want string }{
		{`420["nothing"]`, `430[]`},
		{`421["add",1,2]`, `431[3]`},
		{`422["two","häß"]`, `432["häß",5]`},
		{`423["struct",{"X":1,"Y":2}]`, `433[{"X":2,"Y":1}]`},
		{`424["rest","ab",1,2,3]`, `434[5]`},
		{`425["rest"]`, `435[0]`}, // what is not sent is zero
		{`426["add",1,2,3,4]`, `436[3]`},
		{`427["fails"]`, `437[{"error":"no"}]`},
		{`428["fails with data"]`, `438[{"error":"no","data":7}]`},
		{`429["panics"]`, `439[{"error":"internal error"}]`},
		{`4210["by hand"]`, `4310["once"]`},
		{`4211["ctx"]`, `4311[true]`},
		{`4212["raw",{"a": [1,  2]}]`, `4312[{"a": [1,  2]}]`},
		{`4213["add","x"]`, `4313[{"error":"add: argument 1: a string does not fit"}]`},
		{`4214["struct",{"X":"y"}]`, `4314[{"error":"struct: argument 1: X is a string, which does not fit"}]`},
		{`4215["forbidden"]`, `4315[{"error":"forbidden"}]`},
	} {
		c.Send(x.sent)
		if got := c.Next(); got != x.want {
			t.Errorf("%s: %s, want %s", x.sent, got, x.want)
		}
	}
	if !strings.Contains(log.String(), "at the disco") {
		t.Error("the panic is not in the log")
	}
}

func TestWrongHandlers(t *testing.T) {
	io := newServer(t, nil)
	for name, register := range map[string]func(){
		"no function":   func() { io.On("x", 1) },
		"a channel":     func() { io.On("x", func(chan int) {}) },
		"reserved name": func() { io.On("connect", func() {}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("was taken")
				}
			}()
			register()
		})
	}
}

func TestRooms(t *testing.T) {
	io := newServer(t, nil)
	io.On("join", func(s *socketio.Socket, rooms ...socketio.Room) { s.Join(rooms...) })
	io.On("others", func(s *socketio.Socket, room socketio.Room) error { return s.To(room).Emit("hi", room) })
	a, b, c := connect(t, io, "/"), connect(t, io, "/"), connect(t, io, "/")
	for who, rooms := range map[*siotest.Client]string{a: `"x"`, b: `"x","y"`, c: `"y","z"`} {
		who.Send(`420["join",` + rooms + `]`)
		who.Want("430[]")
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	check(io.To("x", "y").Emit("e", 1)) // b is in both, and gets it once
	check(io.To("x").Except("y").Emit("e", 2))
	check(io.Except("z").Emit("e", 3))
	a.Send(`42["others","x"]`)
	check(io.To("y").SocketsJoin("w"))
	check(io.To("w").Emit("e", 4))
	check(io.To("w").SocketsLeave("w"))
	check(io.To("w").Emit("e", 5))
	check(io.Emit("end"))
	a.Want(`42["e",1]`, `42["e",2]`, `42["e",3]`, `42["end"]`)
	b.Want(`42["e",1]`, `42["e",3]`, `42["hi","x"]`, `42["e",4]`, `42["end"]`)
	c.Want(`42["e",1]`, `42["e",4]`, `42["end"]`)

	found, err := io.To("y").FetchSockets(t.Context())
	if err != nil || len(found) != 2 {
		t.Fatal(found, err)
	}
	check(io.To("z").DisconnectSockets(false))
	c.Want("41")
	if n := len(io.Sockets()); n != 2 {
		t.Errorf("%d sockets", n)
	}
	if err := io.Emit("disconnect"); !errors.Is(err, socketio.ErrReserved) {
		t.Error(err)
	}
}

func TestAcks(t *testing.T) {
	io := newServer(t, nil)
	io.On("ask back", func(ctx context.Context, s *socketio.Socket) (string, error) {
		return socketio.Call[string](ctx, s, "your name?")
	})
	sockets := make(chan *socketio.Socket, 1)
	io.OnConnect(func(s *socketio.Socket) { sockets <- s })
	c := connect(t, io, "/")
	s := <-sockets

	// The answer comes while the handler that waits for it runs.
	c.Send(`427["ask back"]`)
	c.Want(`421["your name?"]`)
	c.Send(`431["ada"]`)
	c.Want(`437["ada"]`)

	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.EmitWithAck(ctx, "silence"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	c.Want(`422["silence"]`)
	c.Send(`432["too late"]`)

	var missing *socketio.MissingAcksError
	answers, err := io.To().Timeout(5*time.Millisecond).EmitWithAck(t.Context(), "all?")
	if !errors.As(err, &missing) || missing.Missing != 1 || missing.Expected != 1 || len(answers) != 0 {
		t.Error(answers, err)
	}
	c.Want(`423["all?"]`)

	done := make(chan error)
	go func() {
		_, err := s.EmitWithAck(t.Context(), "going?")
		done <- err
	}()
	c.Want(`424["going?"]`)
	c.Send("1")
	if err := <-done; !errors.Is(err, socketio.ErrDisconnected) {
		t.Error(err)
	}
	if err := s.Emit("gone"); !errors.Is(err, socketio.ErrDisconnected) {
		t.Error(err)
	}
}

func TestMiddlewareAndNamespaces(t *testing.T) {
	io := newServer(t, nil)
	io.Of("/secret").Use(func(s *socketio.Socket) error {
		var auth struct{ Token string }
		if err := s.Auth().Unmarshal(&auth); err != nil || auth.Token != "x" {
			return &socketio.Error{Message: "who are you?", Data: map[string]int{"code": 1}}
		}
		return nil
	})
	pattern := io.OfMatch(func(name string) bool { return strings.HasPrefix(name, "/room-") })
	pattern.On("name", func(s *socketio.Socket) string { return s.Namespace().Name() })
	c := siotest.Open(t, io)
	c.Send("40/nowhere")
	c.Want(`44/nowhere,{"message":"Invalid namespace"}`)
	c.Send("40/secret,") // middleware takes its time: beside another this one's answer has no order
	c.Want(`44/secret,{"message":"who are you?","data":{"code":1}}`)
	c.Send(`40/secret,{"Token":"x"}`)
	if p := c.Next(); !strings.HasPrefix(p, `40/secret,{"sid":`) {
		t.Error(p)
	}
	c.Send("40/room-1,")
	if p := c.Next(); !strings.HasPrefix(p, `40/room-1,{"sid":`) {
		t.Error(p)
	}
	c.Send(`42/room-1,1["name"]`)
	c.Want(`43/room-1,1["/room-1"]`)
	// One that is asked for before anybody has come is the pattern's as well.
	early := io.Of("/room-2")
	c.Send("40/room-2,")
	if p := c.Next(); !strings.HasPrefix(p, `40/room-2,{"sid":`) {
		t.Error(p)
	}
	c.Send(`42/room-2,1["name"]`)
	c.Want(`43/room-2,1["/room-2"]`)
	if early != io.Of("/room-2") || len(early.Sockets()) != 1 {
		t.Error("there are two of them")
	}
	c.Send("41/room-2,")
	if err := pattern.Emit("to all"); err != nil {
		t.Error(err)
	}
	c.Want(`42/room-1,["to all"]`)
}

func TestDisconnectReasons(t *testing.T) {
	for _, x := range []struct {
		name string
		do   func(c *siotest.Client, s *socketio.Socket)
		want socketio.Reason
	}{
		{"client leaves", func(c *siotest.Client, _ *socketio.Socket) { c.Send("41") }, socketio.ClientDisconnect},
		{"client closes", func(c *siotest.Client, _ *socketio.Socket) { c.Send("1") }, socketio.TransportClose},
		{"server throws out", func(_ *siotest.Client, s *socketio.Socket) { s.Disconnect(false) }, socketio.ServerDisconnect},
		{"server closes", func(_ *siotest.Client, s *socketio.Socket) { s.Disconnect(true) }, socketio.ServerDisconnect},
		{"nonsense", func(c *siotest.Client, _ *socketio.Socket) { c.Send("42{}") }, socketio.ParseError},
		{"bad payload", func(c *siotest.Client, _ *socketio.Socket) { c.Post("x") }, socketio.TransportError},
		{"session closed", func(_ *siotest.Client, s *socketio.Socket) { s.Session().Close() }, socketio.ForcedClose},
	} {
		t.Run(x.name, func(t *testing.T) {
			io := newServer(t, nil)
			sockets, reasons := make(chan *socketio.Socket, 1), make(chan socketio.Reason, 2)
			io.OnConnect(func(s *socketio.Socket) { s.Join("r"); sockets <- s })
			io.OnDisconnect(func(s *socketio.Socket, r socketio.Reason) {
				if !slices.Contains(s.Rooms(), "r") || s.Context().Err() == nil {
					t.Error("rooms or context are not as they should be")
				}
				reasons <- r
			})
			c := connect(t, io, "/")
			x.do(c, <-sockets)
			if got := <-reasons; got != x.want {
				t.Errorf("%q, want %q", got, x.want)
			}
		})
	}
}

func TestServerCloses(t *testing.T) {
	io := socketio.NewServer(nil)
	reasons := make(chan socketio.Reason, 1)
	io.OnDisconnect(func(_ *socketio.Socket, r socketio.Reason) { reasons <- r })
	c := connect(t, io, "/")
	if err := io.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if r := <-reasons; r != socketio.ServerShutdown {
		t.Error(r)
	}
	c.Want("1") // not 41: it is to come back
	if got := c.Do("GET", ""); !strings.Contains(got, "Session ID unknown") {
		t.Error(got)
	}
	if w := httptest.NewRecorder(); true {
		io.ServeHTTP(w, httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling", nil))
		if w.Code != http.StatusServiceUnavailable {
			t.Error(w.Code)
		}
	}
	if err := io.Close(); err != nil {
		t.Error(err)
	}
}

func TestHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		io := socketio.NewServer(nil)
		defer io.Close()
		reasons := make(chan socketio.Reason, 1)
		io.OnDisconnect(func(_ *socketio.Socket, r socketio.Reason) { reasons <- r })
		c := connect(t, io, "/")
		start := time.Now()
		for range 3 {
			if p := c.Do("GET", ""); p != "2" {
				t.Fatal(p)
			}
			c.Send("3")
		}
		if d := time.Since(start); d < 75*time.Second || d > 76*time.Second {
			t.Errorf("three pings took %v", d)
		}
		start = time.Now()
		if r := <-reasons; r != socketio.PingTimeout {
			t.Error(r)
		}
		if d := time.Since(start); d < 45*time.Second || d > 46*time.Second {
			t.Errorf("silence was noticed after %v", d)
		}
	})
}

func TestConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		io := socketio.NewServer(&socketio.Options{ConnectTimeout: time.Second})
		defer io.Close()
		c := siotest.Open(t, io)
		if p := c.Do("GET", ""); p != "1" {
			t.Error(p)
		}
	})
}

func TestRecovery(t *testing.T) {
	io := newServer(t, &socketio.Options{Recovery: &socketio.Recovery{}})
	sockets := make(chan *socketio.Socket, 10)
	left := make(chan struct{}, 10)
	io.OnConnect(func(s *socketio.Socket) {
		if !s.Recovered() {
			s.Join("room")
			s.SetData("kept")
		}
		sockets <- s
	})
	io.OnDisconnect(func(*socketio.Socket, socketio.Reason) { left <- struct{}{} })
	c := siotest.Open(t, io)
	c.Send("40")
	welcome := c.Next()
	was := <-sockets
	pid := welcome[strings.Index(welcome, `"pid":"`)+7 : len(welcome)-2]
	if err := io.To("room").Emit("before"); err != nil {
		t.Fatal(err)
	}
	before := c.Next()
	offset := strings.TrimSuffix(strings.TrimPrefix(before, `42["before","`), `"]`)
	c.Send("1")
	<-left
	for i := range 3 {
		_ = io.To("room").Emit("missed", i)
		_ = io.To("elsewhere").Emit("not mine")
	}

	again := siotest.Open(t, io)
	again.Send(fmt.Sprintf(`40{"pid":%q,"offset":%q}`, pid, offset))
	if p := again.Next(); p != welcome {
		t.Errorf("%s, want %s", p, welcome)
	}
	for i := range 3 {
		if p := again.Next(); !strings.HasPrefix(p, fmt.Sprintf(`42["missed",%d,`, i)) {
			t.Error(p)
		}
	}
	s := <-sockets
	if !s.Recovered() || s.ID() != was.ID() || s.Data() != "kept" || !slices.Contains(s.Rooms(), "room") {
		t.Errorf("%t %s %v %v", s.Recovered(), s.ID(), s.Data(), s.Rooms())
	}

	// It is back before the end of its connection was noticed: that is brought about.
	last := siotest.Open(t, io)
	last.Send(fmt.Sprintf(`40{"pid":%q,"offset":%q}`, pid, offset))
	if p := last.Next(); p != welcome {
		t.Errorf("%s, want %s", p, welcome)
	}
	<-left
	if s := <-sockets; !s.Recovered() || io.Socket(was.ID()) != s || len(io.Sockets()) != 1 {
		t.Errorf("%t, %d sockets", s.Recovered(), len(io.Sockets()))
	}
}

// An app that listens to what is sent may emit, also while events get their offsets.
func TestRecoveryOfWhatIsListenedTo(t *testing.T) {
	io := newServer(t, &socketio.Options{Recovery: &socketio.Recovery{}})
	io.OnAnyOutgoing(func(s *socketio.Socket, e *socketio.Event) {
		if e.Name == "first" {
			_ = io.Emit("second")
		}
	})
	c := connect(t, io, "/")
	if err := io.Emit("first"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "second"} {
		if p := c.Next(); !strings.HasPrefix(p, `42["`+name+`",`) {
			t.Error(p)
		}
	}
}

// What an app keeps with a socket crosses workers as JSON.
func TestDataType(t *testing.T) {
	type user struct{ Name string }
	for name, c := range map[string]struct {
		example any
		want    any
	}{
		"typed": {user{}, user{"me"}}, "a pointer": {&user{}, &user{"me"}}, "untyped": {nil, map[string]any{"Name": "me"}}, "of another type": {1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			io := newServer(t, &socketio.Options{Recovery: &socketio.Recovery{}, Adapter: func(string, adapter.Handler) (adapter.Adapter, error) {
				return elsewhere{adapter.NewRecovering(adapter.Recovery{})}, nil
			}})
			io.DataType(c.example)
			sockets := make(chan *socketio.Socket, 1)
			io.OnConnect(func(s *socketio.Socket) { sockets <- s })
			siotest.Open(t, io).Send(`40{"pid":"p"}`)
			if got := (<-sockets).Data(); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%#v, want %#v", got, c.want)
			}
		})
	}
}

// elsewhere has any session, from another worker.
type elsewhere struct{ *adapter.Memory }

func (a elsewhere) Restore(_ context.Context, pid, _ string, back func(adapter.SavedSession) adapter.Socket) (bool, error) {
	a.Add(back(adapter.SavedSession{PID: pid, ID: "id", Data: adapter.EncodedData(`{"Name":"me"}`)}))
	return true, nil
}

func TestBundle(t *testing.T) {
	io := newServer(t, nil)
	for name, marker := range map[string]string{
		"socket.io.js": "Socket.IO v", "socket.io.min.js": "Socket.IO v", "socket.io.esm.min.js": "Socket.IO v",
		"socket.io.msgpack.min.js": "Socket.IO v", "socket.io.js.map": `"version":3`,
	} {
		w := httptest.NewRecorder()
		io.ServeHTTP(w, httptest.NewRequest("GET", "/socket.io/"+name, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), marker) {
			t.Errorf("%s: %d", name, w.Code)
		}
		r := httptest.NewRequest("GET", "/socket.io/"+name, nil)
		r.Header.Set("If-None-Match", w.Header().Get("ETag"))
		w = httptest.NewRecorder()
		if io.ServeHTTP(w, r); w.Code != http.StatusNotModified {
			t.Errorf("%s again: %d", name, w.Code)
		}
	}
	w := httptest.NewRecorder()
	io.ServeHTTP(w, httptest.NewRequest("GET", "/socket.io/socket.io.exe", nil))
	if w.Code != http.StatusNotFound {
		t.Error(w.Code)
	}
	// A page of another origin may import it as a module, if it may connect.
	io = newServer(t, &socketio.Options{Engine: engineio.Options{Origins: []string{"good.example"}}})
	for origin, want := range map[string]string{"https://good.example": "https://good.example", "https://evil.example": ""} {
		r := httptest.NewRequest("GET", "/socket.io/socket.io.esm.min.js", nil)
		r.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		io.ServeHTTP(w, r)
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != want || !slices.Contains(w.Header()["Vary"], "Origin") {
			t.Errorf("%s: %q %v", origin, got, w.Header()["Vary"])
		}
	}
}

// What a client must not send ends its session with a reason, and what it may send in vain
// does not. Another client notices nothing.
func TestBadPackets(t *testing.T) {
	const closed = "closed"
	for _, x := range []struct {
		name string
		sent []string
		want string // the next packet, or closed
	}{
		{"an event before CONNECT", []string{`42["e"]`}, closed},
		{"an ack before CONNECT", []string{`431[]`}, closed},
		{"a namespace that is not there", []string{"40/nowhere,"}, `44/nowhere,{"message":"Invalid namespace"}`},
		{"an event to a namespace that it is not in", []string{"40", `42/other,["e"]`}, closed},
		{"CONNECT twice", []string{"40", "40"}, closed},
		{"a reserved type", []string{"40", "47"}, closed},
		{"a packet that only servers send", []string{"40", `44{"message":"x"}`}, closed},
		{"an event without a name", []string{"40", "42[]"}, closed},
		{"an event named connect", []string{"40", `42["connect"]`}, closed},
		{"an event named disconnecting", []string{"40", `42["disconnecting"]`}, closed},
		{"binary that was not promised", []string{"40", "bAQ=="}, closed},
		{"binary that was promised and not sent", []string{"40", `451-["e",{"_placeholder":true,"num":0}]`, `42["e"]`}, closed},
		{"10^9 attachments", []string{"40", `451000000000-["e"]`}, closed},
		{"a placeholder out of range", []string{"40", `451-["e",{"_placeholder":true,"num":1}]`}, closed},
		{"a placeholder out of range in an ack", []string{"40", `461-1[{"_placeholder":true,"num":1}]`}, closed},
		{"CONNECT with attachments", []string{`451-{"_placeholder":true,"num":0}`, "bAQ=="}, closed},
		{"a placeholder in CONNECT is data", []string{`40/auth,{"_placeholder":true,"num":0}`}, `42/auth,["auth",{"_placeholder":true,"num":0}]`},
		{"nested too deeply", []string{"40", `42["e",` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `]`}, closed},
		{"not JSON", []string{"40", `42["e",nan]`}, closed},
		{"an ack for an id never given", []string{"40", `4399["x"]`, `421["e"]`}, `431["e"]`},
		{"an ack for __proto__", []string{"40", `43__proto__["x"]`}, closed},
		{"an event named __proto__", []string{"40", `42["__proto__"]`, `421["e"]`}, `431["e"]`},
		{"an event without a handler", []string{"40", `427["unknown"]`, `421["e"]`}, `431["e"]`},
	} {
		t.Run(x.name, func(t *testing.T) {
			io := newServer(t, nil)
			for _, n := range []*socketio.Namespace{io.Namespace, io.Of("/other")} {
				n.On("e", func() string { return "e" })
			}
			io.Of("/auth").OnConnect(func(s *socketio.Socket) { _ = s.Emit("auth", s.Auth()) })
			other, c := connect(t, io, "/"), siotest.Open(t, io)
			c.Send(x.sent...)
			got := closed
			if io.Engine().Session(engineio.SID(c.SID)) != nil {
				for got = c.Next(); strings.HasPrefix(got, "40"); {
					got = c.Next()
				}
			}
			if got != x.want {
				t.Errorf("got %s, want %s", got, x.want)
			}
			other.Send(`421["e"]`)
			other.Want(`431["e"]`)
		})
	}
}

// Sessions that were opened and left are gone, with all that they had.
func TestTenThousandLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		io := socketio.NewServer(&socketio.Options{Engine: engineio.Options{CompressionThreshold: -1}})
		defer io.Close()
		io.OnConnect(func(s *socketio.Socket) { s.Join("everybody") })
		heap := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before, goroutines := heap(), runtime.NumGoroutine()
		for i := range 10_000 {
			c := siotest.Open(t, io)
			if i%2 == 0 {
				c.Send("40")
			}
		}
		synctest.Wait()
		if n := io.Engine().Len(); n != 10_000 {
			t.Fatalf("%d sessions", n)
		}
		t.Logf("%d bytes a session", (heap()-before)/10_000)
		time.Sleep(2 * time.Minute) // of the bubble: nobody answers pings
		if n, s := io.Engine().Len(), len(io.Sockets()); n != 0 || s != 0 {
			t.Errorf("%d sessions and %d sockets are left", n, s)
		}
		if after := heap(); after > before+4<<20 {
			t.Errorf("%d bytes are left", after-before)
		}
		if n := runtime.NumGoroutine(); n > goroutines+300 { // those that are kept for work
			t.Errorf("%d goroutines, %d before", n, goroutines)
		}
	})
}
