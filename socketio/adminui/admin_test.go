package adminui_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaussette/chaussette/internal/siotest"
	"github.com/chaussette/chaussette/socketio"
	"github.com/chaussette/chaussette/socketio/adapter/adaptertest"
	"github.com/chaussette/chaussette/socketio/adminui"
)

type socket struct {
	ID, ClientID, Transport, Nsp string
	Data                         json.RawMessage
	Handshake                    map[string]any
	Rooms                        []string
}

func decode[T any](t testing.TB, data json.RawMessage) (v T) {
	t.Helper()
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }

// A page is told of everything that happens, in its order.
func TestDevelopment(t *testing.T) {
	io := newServer(t, nil, adminui.Options{})
	io.OnConnect(func(s *socketio.Socket) { s.Join("first") })
	io.On("join", func(s *socketio.Socket, r socketio.Room) { s.Join(r) })
	io.On("data", func(s *socketio.Socket, v any) { s.SetData(v) })
	io.On("ask", func(s *socketio.Socket, blob []byte) (int, error) { return len(blob), s.Emit("answer", 7) })
	before := siotest.Open(t, io)
	early, _ := before.Connect("/", "")

	p := login(t, io, secret)
	if id := decode[string](t, p.await("session").args[0]); len(id) != 32 {
		t.Errorf("session %s", id)
	}
	features := decode[struct{ SupportedFeatures []string }](t, p.await("config").args[0]).SupportedFeatures
	slices.Sort(features)
	if got := strings.Join(features, " "); got != "AGGREGATED_EVENTS ALL_EVENTS DISCONNECT EMIT JOIN LEAVE MDISCONNECT MJOIN MLEAVE" {
		t.Error(got)
	}
	all := decode[[]socket](t, p.await("all_sockets").args[0])
	if len(all) != 2 {
		t.Fatalf("%d sockets", len(all))
	}
	i := slices.IndexFunc(all, func(s socket) bool { return s.Nsp == "/" })
	if s := all[i]; s.ID != early || s.ClientID != before.SID[:12] || s.Transport != "polling" || string(s.Data) != "{}" ||
		!slices.Equal(s.Rooms, []string{early, "first"}) || s.Handshake["address"] != "192.0.2.1" || s.Handshake["auth"] != nil {
		t.Errorf("%+v", s)
	}
	for _, s := range all {
		if text, _ := json.Marshal(s); strings.Contains(string(text), "secret") {
			t.Errorf("the password is shown: %s", text)
		}
	}

	c := siotest.Open(t, io)
	id, _ := c.Connect("/", "")
	ours := quoted(id)
	s := decode[socket](t, p.until(func(e event) bool {
		return e.name == "socket_connected" && strings.Contains(e.String(), id)
	}).args[0])
	if !slices.Equal(s.Rooms, []string{id}) {
		t.Errorf("%+v", s)
	}
	p.expect("room_joined", `"/"`, `"first"`, ours)
	c.Send(`42["join","room"]`)
	p.expect("event_received", `"/"`, ours, `["join","room"]`)
	p.expect("room_joined", `"/"`, `"room"`, ours)
	c.Send(`42["data",{"a":1}]`)
	if e := p.await("socket_updated"); string(e.args[0]) != `{"data":{"a":1},"id":`+ours+`,"nsp":"/"}` {
		t.Error(e)
	}
	c.Send(`451-1["ask",{"_placeholder":true,"num":0}]`, "bAAEC")
	if packet := p.binary(); packet != `451-/admin,["event_received","/",`+ours+`,["ask",{"_placeholder":true,"num":0}]` {
		t.Error(packet)
	}
	p.expect("event_sent", `"/"`, ours, `["answer",7]`)

	// Commands.
	p.says(`["join","/","late","room"]`)
	p.expect("room_joined", `"/"`, `"late"`, ours)
	p.says(`["emit","/",null,"hello",1,{"b":2}]`)
	p.expect("event_sent", `"/"`, ours, `["hello",1,{"b":2}]`)
	p.says(`["leave","/","late",` + ours + `]`)
	p.expect("room_left", `"/"`, `"late"`, ours)
	p.says(`["_disconnect","/",false,"room"]`)
	left := map[string]bool{}
	gone := false
	p.until(func(e event) bool {
		if e.name == "room_left" && string(e.args[2]) == ours {
			left[decode[string](t, e.args[1])] = true
		}
		gone = gone || e.name == "socket_disconnected" && string(e.args[1]) == ours && string(e.args[2]) == `"server namespace disconnect"`
		return gone && len(left) == 3
	})
	if !left["room"] || !left["first"] || !left[id] {
		t.Error(left)
	}
	// What is addressed to nobody else has reached nobody else.
	if n := len(io.Sockets()); n != 1 {
		t.Errorf("%d sockets", n)
	}
	p.Send(`42/admin,1["join","/nowhere","x",null]`)
	if got := p.ack(); got != `43/admin,1[{"error":"no namespace /nowhere"}]` {
		t.Error(got)
	}
	for _, n := range io.Namespaces() {
		if n.Name() == "/nowhere" {
			t.Error("a command has made a namespace")
		}
	}
}

// binary returns the packet of the next binary event, up to its time.
func (p page) binary() string {
	for {
		if packet := p.Next(); strings.HasPrefix(packet, "45") {
			if attachment := p.Next(); attachment != "bAAEC" {
				p.t.Error(attachment)
			}
			return packet[:strings.LastIndex(packet, ",")]
		}
	}
}

func (p page) ack() string {
	for {
		if packet := p.Next(); strings.HasPrefix(packet, "43") {
			return packet
		}
	}
}

// Production tells of numbers alone, and ReadOnly takes no commands.
func TestProductionAndReadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		io := newServer(t, nil, adminui.Options{Mode: adminui.Production, ReadOnly: true, ServerID: "one", NoAuth: true})
		io.On("hi", func() {})
		p := login(t, io, "")
		if e := p.await("config"); string(e.args[0]) != `{"supportedFeatures":["AGGREGATED_EVENTS"]}` {
			t.Error(e)
		}
		c := siotest.Open(t, io)
		id, _ := c.Connect("/", "")
		c.Send(`42["hi"]`)
		p.says(`["_disconnect","/",true,` + quoted(id) + `]`)
		counts := map[string]int{}
		deadline := time.Now().Add(10 * time.Second)
		for time.Now().Before(deadline) {
			e := p.until(func(event) bool { return true })
			if e.name != "server_stats" {
				t.Fatal(e)
			}
			s := decode[struct {
				ServerID                          string
				ClientsCount, PollingClientsCount int
				AggregatedEvents                  []struct {
					Timestamp     int64
					Type, SubType string
					Count         int
				}
				Namespaces []struct {
					Name         string
					SocketsCount int
				}
			}](t, e.args[0])
			if s.ServerID != "one" {
				t.Error(e)
			}
			for _, a := range s.AggregatedEvents {
				counts[a.Type] += a.Count
				if a.Timestamp%1000 != 0 {
					t.Error(a)
				}
			}
			if len(counts) > 1 && (s.ClientsCount != 2 || s.PollingClientsCount != 2 || len(s.Namespaces) != 2 || s.Namespaces[0].SocketsCount != 1) {
				t.Error(e)
			}
		}
		// 40, 42["hi"], 40/admin, and the command, without the type of Engine.IO.
		if counts["rawConnection"] != 2 || counts["packetsIn"] != 4 || counts["packetsOut"] < 4 || counts["bytesOut"] < 100 {
			t.Error(counts)
		}
	})
}

// A password that is wrong is refused, and one who tries on is not even heard.
func TestLogin(t *testing.T) {
	io := newServer(t, nil, adminui.Options{})
	for _, auth := range []string{
		``, `{}`, `{"username":"ada","password":"wrong"}`, `{"username":"bob","password":"secret"}`, `{"username":"ada"}`,
		`{"sessionId":"00112233445566778899aabbccddeeff"}`, `{"username":{},"password":[]}`, `{"username":"ada","password":"` + strings.Repeat("x", 100) + `"}`,
	} {
		if _, refused := siotest.Open(t, io).Connect("/admin", auth); refused != `44/admin,{"message":"invalid credentials"}` {
			t.Errorf("%s: %s", auth, refused)
		}
	}
	p := login(t, io, secret)
	session := decode[string](t, p.await("session").args[0])
	for range 6 {
		siotest.Open(t, io).Connect("/admin", `{"username":"ada","password":"wrong"}`)
	}
	if _, refused := siotest.Open(t, io).Connect("/admin", secret); !strings.Contains(refused, "too many attempts") {
		t.Error(refused)
	}
	// A session is no try.
	again := login(t, io, `{"sessionId":`+quoted(session)+`}`)
	if e := again.until(func(e event) bool { return e.name == "session" || e.name == "config" }); e.name != "config" {
		t.Error(e)
	}
}

// Sessions and the count of what has failed come to an end.
func TestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		io := newServer(t, nil, adminui.Options{SessionLifetime: time.Hour})
		p := login(t, io, secret)
		session := `{"sessionId":` + string(p.await("session").args[0]) + `}`
		c := siotest.Open(t, io)
		if _, refused := c.Connect("/admin", session); refused != "" {
			t.Error(refused)
		}
		time.Sleep(time.Hour)
		if _, refused := siotest.Open(t, io).Connect("/admin", session); refused == "" {
			t.Error("a session has outlived its time")
		}
		for range 10 {
			siotest.Open(t, io).Connect("/admin", `{"username":"ada","password":"wrong"}`)
		}
		if _, refused := siotest.Open(t, io).Connect("/admin", secret); refused == "" {
			t.Error("the 11th try in a minute")
		}
		time.Sleep(time.Minute)
		if _, refused := siotest.Open(t, io).Connect("/admin", secret); refused != "" {
			t.Error(refused)
		}
	})
}

func TestOptions(t *testing.T) {
	good := hash(t, "x")
	for name, c := range map[string]struct {
		o    *adminui.Options
		want string
	}{
		"nothing":             {nil, "NoAuth"},
		"no name":             {&adminui.Options{PasswordHash: good}, "NoAuth"},
		"no hash":             {&adminui.Options{Username: "a"}, "NoAuth"},
		"the password itself": {&adminui.Options{Username: "a", PasswordHash: "secret"}, "bcrypt"},
		"a part of a hash":    {&adminui.Options{Username: "a", PasswordHash: good[:40]}, "bcrypt"},
		"a costly hash":       {&adminui.Options{Username: "a", PasswordHash: "$2a$31$" + good[7:]}, "at most 16"},
		"both":                {&adminui.Options{Username: "a", PasswordHash: good, NoAuth: true}, "NoAuth"},
		"a mode":              {&adminui.Options{NoAuth: true, Mode: "test"}, "production"},
	} {
		t.Run(name, func(t *testing.T) {
			io := socketio.NewServer(nil)
			defer io.Close()
			if err := adminui.Register(io, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
		})
	}
	io := newServer(t, nil, adminui.Options{NoAuth: true})
	if err := adminui.Register(io, &adminui.Options{NoAuth: true}); err == nil {
		t.Error("registered twice")
	}
	io = socketio.NewServer(nil)
	defer io.Close()
	io.OfMatch(func(string) bool { return true })
	if err := adminui.Register(io, &adminui.Options{NoAuth: true}); err == nil || !strings.Contains(err.Error(), "pattern") {
		t.Error(err)
	}
}

// A page sees and reaches the sockets of all workers, also in namespaces that a pattern has
// made on others alone, and is logged in on all of them.
func TestSiblings(t *testing.T) {
	var workers []*socketio.Server
	for i, hub := range adaptertest.Hubs(t, 2) {
		io := newServer(t, hub.Factory, adminui.Options{ServerID: fmt.Sprint("server ", i)})
		io.OfMatch(func(name string) bool { return strings.HasPrefix(name, "/team-") })
		workers = append(workers, io)
	}
	for i, namespace := range []string{"/", "/admin"} {
		adaptertest.Workers(t, workers[i].Of(namespace).Adapter(), 2)
		adaptertest.Workers(t, workers[1-i].Of(namespace).Adapter(), 2)
	}
	c := siotest.Open(t, workers[1])
	id, _ := c.Connect("/team-a", "")
	p := login(t, workers[0], secret)
	session := p.await("session").args[0]
	all := decode[[]socket](t, p.await("all_sockets").args[0])
	i := slices.IndexFunc(all, func(s socket) bool { return s.ID == id })
	if len(all) != 2 || i < 0 {
		t.Fatalf("%+v", all)
	}
	if s := all[i]; s.Nsp != "/team-a" || s.Transport != "polling" || s.ClientID != c.SID[:12] {
		t.Errorf("%+v", s)
	}
	p.says(`["join","/team-a","room",` + quoted(id) + `]`)
	p.expect("room_joined", `"/team-a"`, `"room"`, quoted(id))
	p.says(`["_disconnect","/team-a",true,"room"]`)
	p.expect("socket_disconnected", `"/team-a"`, quoted(id), `"server namespace disconnect"`)
	seen := map[string]bool{}
	p.until(func(e event) bool {
		if e.name == "server_stats" {
			seen[decode[struct{ ServerID string }](t, e.args[0]).ServerID] = true
		}
		return len(seen) == 2
	})
	login(t, workers[1], `{"sessionId":`+string(session)+`}`)
}

// Where more happens than a page can be told, it gets all sockets anew.
func TestFlood(t *testing.T) {
	io := newServer(t, nil, adminui.Options{NoAuth: true})
	c := siotest.Open(t, io)
	id, _ := c.Connect("/", "")
	p := login(t, io, "")
	p.await("all_sockets")
	s := io.Socket(socketio.SocketID(id))
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				s.Join("r")
				s.Leave("r")
			}
		}
	}()
	defer func() { <-stopped }()
	defer close(stop)
	p.await("all_sockets")
}

// A worker tells the others nothing of its sockets while nobody is watching there. A page that
// it hears of late gets all that there is.
func TestWatchedElsewhere(t *testing.T) {
	hubs := adaptertest.Hubs(t, 2)
	io := newServer(t, hubs[0].Factory, adminui.Options{NoAuth: true})
	// A worker that has the namespace, and does not say who is in it.
	silent := socketio.NewServer(&socketio.Options{Adapter: hubs[1].Factory})
	t.Cleanup(func() {
		if err := silent.Close(); err != nil {
			t.Error(err)
		}
	})
	adaptertest.Workers(t, silent.Of("/admin").Adapter(), 2)
	adaptertest.Workers(t, io.Of("/admin").Adapter(), 2)
	p := login(t, silent, "")
	id, _ := siotest.Open(t, io).Connect("/", "")
	for range 2 { // so it is watching
		if e := p.until(func(event) bool { return true }); e.name != "server_stats" {
			t.Errorf("%s, where nobody is watching", e.name)
		}
	}
	if err := silent.Of("/admin").ServerSideEmit("chaussette:adminui:watching"); err != nil {
		t.Fatal(err)
	}
	if e := p.until(func(e event) bool { return e.name != "server_stats" }); e.name != "all_sockets" || !strings.Contains(e.String(), id) {
		t.Error(e)
	}
	second, _ := siotest.Open(t, io).Connect("/", "")
	p.until(func(e event) bool { return e.name == "socket_connected" && strings.Contains(e.String(), second) })
}

// A worker that is started while a page is watching is heard of.
func TestLateWorker(t *testing.T) {
	hubs := adaptertest.Hubs(t, 2)
	p := login(t, newServer(t, hubs[0].Factory, adminui.Options{NoAuth: true}), "")
	p.await("all_sockets")
	id, _ := siotest.Open(t, newServer(t, hubs[1].Factory, adminui.Options{NoAuth: true})).Connect("/", "")
	p.until(func(e event) bool { return strings.Contains(e.String(), id) })
}

// A flood of events leaves what a page knows of sockets and rooms as it is.
func TestFloodOfEvents(t *testing.T) {
	io := newServer(t, nil, adminui.Options{NoAuth: true})
	c := siotest.Open(t, io)
	id, _ := c.Connect("/", "")
	p := login(t, io, "")
	p.await("all_sockets")
	s := io.Socket(socketio.SocketID(id))
	for range 50_000 {
		if err := s.Emit("x"); err != nil {
			t.Fatal(err)
		}
	}
	s.Join("r")
	if e := p.until(func(e event) bool { return e.name == "room_joined" || e.name == "all_sockets" }); e.name != "room_joined" {
		t.Error(e.name)
	}
}
