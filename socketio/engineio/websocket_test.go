package engineio_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/socketio/engineio"
	"github.com/chaussette/chaussette/ws"
	"github.com/chaussette/chaussette/ws/wstest"
)

// listening is a server that can be dialed.
type listening struct {
	*engineio.Server
	*recorder
	t       *testing.T
	address string
}

func listen(t *testing.T, options *engineio.Options) *listening {
	h := &recorder{}
	srv := engineio.NewServer(h, options)
	hs := httptest.NewServer(srv)
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		hs.Close()
	})
	return &listening{srv, h, t, strings.TrimPrefix(hs.URL, "http://")}
}

// dial opens a WebSocket, and returns it with the open packet that came.
func (l *listening) dial(query string) (*wstest.Client, string) {
	l.t.Helper()
	c := wstest.Dial(l.t, l.address, wstest.Handshake{Path: "/engine.io/?transport=websocket&" + query})
	f, err := c.Next()
	if err != nil {
		l.t.Fatal(err)
	}
	return c, string(f.Payload)
}

// refused tries to open a WebSocket, and returns the answer.
func (l *listening) refused(query string) string {
	l.t.Helper()
	c := wstest.DialRaw(l.t, l.address, wstest.Handshake{Path: "/engine.io/?transport=websocket&" + query})
	body := make([]byte, 200)
	n, _ := c.Response.Body.Read(body)
	return c.Response.Status + " " + string(body[:n])
}

// sessionOf finds the session of an open packet.
func (l *listening) sessionOf(opened string) *engineio.Session {
	l.t.Helper()
	_, id, _ := strings.Cut(opened, `"sid":"`)
	id, _, _ = strings.Cut(id, `"`)
	// The open packet is sent with the handshake, a moment before.
	eventually(l.t, "no session of "+opened, func() bool { return l.Session(engineio.SID(id)) != nil })
	return l.Session(engineio.SID(id))
}

// eventually waits until ok is.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// A Fan sends to each client what it understands, once, and after what it was sent before.
func TestFan(t *testing.T) {
	l := listen(t, nil)
	message := engineio.Prepare(engineio.Message{Data: []byte("x")}, engineio.Message{Data: []byte{1}, Binary: true})
	other := engineio.Prepare(engineio.Message{Data: []byte("y")})

	var all []*engineio.Session
	var four, three []*wstest.Client
	for range 40 { // more than one system call's worth
		c, opened := l.dial("EIO=4")
		four, all = append(four, c), append(all, l.sessionOf(opened))
		c, opened = l.dial("EIO=3")
		three, all = append(three, c), append(all, l.sessionOf(opened))
	}
	bare, opened := l.dial("EIO=3")
	all = append(all, l.sessionOf(opened))
	bare.Frames(wstest.F(wstest.Binary, "b")) // it leaves out the type
	bare.Expect(wstest.F(wstest.Binary, "b"))
	polling, url := open(t, l.Server, l.recorder, "EIO=4")
	all = append(all, polling)
	gone, opened := l.dial("EIO=4")
	all = append(all, l.sessionOf(opened))
	gone.Frames(wstest.F(wstest.Text, "1"))
	eventually(t, "a session that was left is there", func() bool { return l.Len() == len(all)-1 })

	for _, p := range []*engineio.Prepared{message, other} {
		_ = all[0].Send(engineio.Message{Data: []byte("before")})
		fan := engineio.NewFan()
		for _, s := range all {
			fan.Send(s, p)
		}
		fan.Close()
	}
	_ = all[0].Send(engineio.Message{Data: []byte("after")})

	text := func(s string) wstest.Frame { return wstest.F(wstest.Text, s) }
	four[0].Expect(text("4before"), text("4x"), wstest.F(wstest.Binary, "\x01"), text("4before"), text("4y"), text("4after"))
	for _, c := range four[1:] {
		c.Expect(text("4x"), wstest.F(wstest.Binary, "\x01"), text("4y"))
	}
	for _, c := range three {
		c.Expect(text("4x"), wstest.F(wstest.Binary, "\x04\x01"), text("4y"))
	}
	bare.Expect(text("4x"), wstest.F(wstest.Binary, "\x01"), text("4y"))
	serve(t, l.Server, newExchange("GET", url, "")).want(t, 200, "4x\x1ebAQ==\x1e4y")
}

// An upgrade loses nothing, and changes no order.
func TestUpgrade(t *testing.T) {
	l := listen(t, nil)
	s, url := open(t, l.Server, l.recorder, "EIO=4")
	send := func(data string) { _ = s.Send(engineio.Message{Data: []byte(data)}) }
	waiting := serve(t, l.Server, newExchange("GET", url, ""))
	c := wstest.Dial(t, l.address, wstest.Handshake{Path: "/engine.io/?transport=websocket&EIO=4&sid=" + string(s.ID())})
	c.Frames(wstest.F(wstest.Text, "2probe"))
	c.Expect(wstest.F(wstest.Text, "3probe"))
	eventually(t, "the poll waits on", func() bool { status, _ := waiting.got(); return status != 0 })
	waiting.want(t, 200, "6")
	send("a") // waits for the upgrade, or a poll
	if s.Transport() != engineio.Polling {
		t.Error(s.Transport())
	}
	c.Frames(wstest.F(wstest.Text, "5"), wstest.F(wstest.Text, "4b"))
	c.Expect(wstest.F(wstest.Text, "4a"), wstest.F(wstest.Text, "4b"))
	send("c")
	c.Expect(wstest.F(wstest.Text, "4c"))
	if s.Transport() != engineio.WebSocket {
		t.Error(s.Transport())
	}
	for _, method := range []string{"GET", "POST"} {
		serve(t, l.Server, newExchange(method, url, "4x")).want(t, 400, `{"code":3,"message":"Bad request"}`)
	}
	// The session has a WebSocket, and goes on with it.
	if got := l.refused("EIO=4&sid=" + string(s.ID())); !strings.HasPrefix(got, "400 ") || !strings.Contains(got, `"code":3`) {
		t.Error(got)
	}
	send("d")
	c.Expect(wstest.F(wstest.Text, "4d"))
	c.Bye()
	eventually(t, "the session is there", func() bool { return l.Len() == 0 && l.reasons() != "" })
	if l.reasons() != "transport close;" {
		t.Error(l.reasons())
	}
}

// A probe that is none, or becomes nothing, is closed, and the session goes on.
func TestBadProbes(t *testing.T) {
	for name, frames := range map[string][]wstest.Frame{
		"silent":            nil,
		"stops":             {wstest.F(wstest.Text, "2probe")},
		"no probe":          {wstest.F(wstest.Text, "4x")},
		"not asked":         {wstest.F(wstest.Text, "5")},
		"binary":            {wstest.F(wstest.Binary, "2probe")},
		"data before its 5": {wstest.F(wstest.Text, "2probe"), wstest.F(wstest.Text, "4x")},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t, &engineio.Options{UpgradeTimeout: 100 * time.Millisecond})
			s, url := open(t, l.Server, l.recorder, "EIO=4")
			c := wstest.Dial(t, l.address, wstest.Handshake{Path: "/engine.io/?transport=websocket&EIO=4&sid=" + string(s.ID())})
			c.Frames(frames...)
			for {
				f, err := c.Next()
				if err != nil {
					t.Fatal(err)
				}
				if f.Opcode == wstest.Close {
					break
				}
			}
			poll := serve(t, l.Server, newExchange("GET", url, ""))
			_ = s.Send(engineio.Message{Data: []byte("on")})
			eventually(t, "the poll waits on", func() bool { status, _ := poll.got(); return status != 0 })
			if _, answer := poll.got(); answer == "6" { // a noop for the client that probed
				poll = serve(t, l.Server, newExchange("GET", url, ""))
			}
			if _, answer := poll.got(); answer != "4on" || s.Done() {
				t.Errorf("%q, done %t", answer, s.Done())
			}
		})
	}
}

// What must not come on WebSocket ends the session.
func TestBadFrames(t *testing.T) {
	for _, c := range []struct {
		name, query string
		frame       wstest.Frame
		code        ws.StatusCode
		reason      string
	}{
		{"a reserved type", "EIO=4", wstest.F(wstest.Text, "7"), ws.StatusNormal, "transport error;"},
		{"no digit", "EIO=4", wstest.F(wstest.Text, "x"), ws.StatusNormal, "transport error;"},
		{"nothing", "EIO=4", wstest.F(wstest.Text, ""), ws.StatusNormal, "transport error;"},
		{"a ping of the client's", "EIO=4", wstest.F(wstest.Text, "2"), ws.StatusNormal, "transport error;"},
		{"a pong of the client's", "EIO=3", wstest.F(wstest.Text, "3"), ws.StatusNormal, "transport error;"},
		{"an upgrade", "EIO=4", wstest.F(wstest.Text, "5"), ws.StatusNormal, "transport error;"},
		{"not UTF-8", "EIO=4", wstest.F(wstest.Text, "4\xff"), ws.StatusInvalidPayload, "transport error;"},
		{"cut in a rune", "EIO=4", wstest.F(wstest.Text, "4\xe2\x82"), ws.StatusInvalidPayload, "transport error;"},
		{"more than the limit", "EIO=4", wstest.F(wstest.Text, "4"+strings.Repeat("x", 200)), ws.StatusMessageTooBig, "transport error;"},
		{"its end", "EIO=4", wstest.F(wstest.Text, "1"), ws.StatusNormal, "transport close;"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := listen(t, &engineio.Options{MaxPayload: 100})
			client, _ := l.dial(c.query)
			client.Frames(c.frame)
			f, err := client.Next()
			if err != nil || f.Opcode != wstest.Close || len(f.Payload) < 2 || ws.StatusCode(f.Payload[0])<<8|ws.StatusCode(f.Payload[1]) != c.code {
				t.Errorf("%v %v, want a close frame with %v", f, err, c.code)
			}
			client.Close()
			eventually(t, "the session is there", func() bool { return l.Len() == 0 && l.reasons() != "" })
			if l.reasons() != c.reason {
				t.Error(l.reasons())
			}
		})
	}
}

// A WebSocket handshake is refused as one by polling.
func TestRefusedWebSockets(t *testing.T) {
	l := listen(t, &engineio.Options{Revisions: []engineio.Revision{engineio.Revision4}, NoUpgrade: true, Cookie: nil})
	s, _ := open(t, l.Server, l.recorder, "EIO=4")
	for query, want := range map[string]string{
		"EIO=3":                       `{"code":5,"message":"Unsupported protocol version"}`,
		"EIO=4&sid=nobody":            `{"code":1,"message":"Session ID unknown"}`,
		"EIO=4&sid=" + string(s.ID()): `{"code":3,"message":"Bad request"}`,
	} {
		if got := l.refused(query); got != "400 Bad Request "+want {
			t.Errorf("%s: %s", query, got)
		}
	}
	if s.Done() {
		t.Error("the session has ended")
	}
}

// Past MaxSessions a handshake is answered 503.
func TestFullForWebSockets(t *testing.T) {
	l := listen(t, &engineio.Options{MaxSessions: 1})
	_, opened := l.dial("EIO=4")
	l.sessionOf(opened)
	if got := l.refused("EIO=4"); got != "503 Service Unavailable too many sessions\n" {
		t.Errorf("%q", got)
	}
}

// What Options.Header and the cookie say is in the answer to a WebSocket handshake, too.
func TestWebSocketHeader(t *testing.T) {
	l := listen(t, &engineio.Options{
		Cookie: &http.Cookie{Name: "c"},
		Header: func(*http.Request) http.Header { return http.Header{"X-Worker": {"7"}} },
	})
	c, opened := l.dial("EIO=4")
	id := string(l.sessionOf(opened).ID())
	if h := c.Response.Header; h.Get("X-Worker") != "7" || !strings.HasPrefix(h.Get("Set-Cookie"), "c="+id+";") {
		t.Error(h)
	}
}
