package engineio_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaussette/chaussette/socketio/engineio"
)

// streams are pages that open WebTransport sessions with a server. The stream is a pipe:
// what is under it is not the matter here.
type streams struct {
	*engineio.Server
	*recorder
	t       *testing.T
	serving sync.WaitGroup
}

var everyTransport = []engineio.TransportName{engineio.Polling, engineio.WebSocket, engineio.WebTransport}

func newStreams(t *testing.T, o engineio.Options) *streams {
	if o.Transports == nil {
		o.Transports = everyTransport
	}
	h := &recorder{}
	return &streams{Server: engineio.NewServer(h, &o), recorder: h, t: t}
}

func (s *streams) close() {
	s.t.Helper()
	if err := s.Server.Close(); err != nil {
		s.t.Error(err)
	}
	s.serving.Wait()
}

// page is the client's end of a stream.
type page struct {
	net.Conn
	t *testing.T
}

func connectRequest() *http.Request {
	r := httptest.NewRequest("CONNECT", "/engine.io/", nil)
	r.RemoteAddr = "192.0.2.7:7777"
	return r
}

// dial opens a stream, and writes what is its beginning.
func (s *streams) dial(beginning string) *page {
	return s.serve(beginning, func(st engineio.Stream) { s.ServeStream(st, connectRequest()) })
}

func (s *streams) serve(beginning string, serve func(engineio.Stream)) *page {
	s.t.Helper()
	ours, theirs := net.Pipe()
	s.serving.Go(func() { serve(theirs) })
	p := &page{ours, s.t}
	if beginning != "" {
		p.raw(beginning)
	}
	return p
}

// raw writes bytes. The server may have gone before the last.
func (p *page) raw(b string) {
	p.t.Helper()
	if _, err := p.Write([]byte(b)); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		p.t.Error(err)
	}
}

// packet writes a packet in text.
func (p *page) packet(text string) { p.t.Helper(); p.raw(string(rune(len(text))) + text) }

// next reads a packet: b before one that is binary.
func (p *page) next() (string, error) {
	var head [9]byte
	if _, err := io.ReadFull(p, head[:1]); err != nil {
		return "", err
	}
	n := int(head[0] & 0x7f)
	if n == 126 {
		_, _ = io.ReadFull(p, head[1:3])
		n = int(binary.BigEndian.Uint16(head[1:]))
	} else if n == 127 {
		_, _ = io.ReadFull(p, head[1:9])
		n = int(binary.BigEndian.Uint64(head[1:]))
	}
	data := make([]byte, n)
	_, err := io.ReadFull(p, data)
	if head[0]&0x80 != 0 {
		return "b" + string(data), err
	}
	return string(data), err
}

func (p *page) want(packets ...string) {
	p.t.Helper()
	for _, want := range packets {
		if got, err := p.next(); got != want || err != nil {
			p.t.Fatalf("%.60q, error %v, want %.60q", got, err, want)
		}
	}
}

// opened reads the open packet, and returns the session's id.
func (p *page) opened() engineio.SID {
	p.t.Helper()
	open, err := p.next()
	if err != nil || !strings.HasPrefix(open, `0{"sid":"`) || !strings.Contains(open, `"upgrades":[],`) {
		p.t.Fatalf("%q, error %v", open, err)
	}
	id, _, _ := strings.Cut(open[len(`0{"sid":"`):], `"`)
	synctest.Wait() // the packet comes before the server knows the session
	return engineio.SID(id)
}

// ends reads to the end, which comes with nothing before it.
func (p *page) ends() {
	p.t.Helper()
	if got, err := p.next(); err != io.EOF {
		p.t.Errorf("%.60q, error %v, want the end", got, err)
	}
}

func TestWebTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreams(t, engineio.Options{})
		defer s.close()
		p := s.dial("\x010")
		id := p.opened()
		session := s.Session(id)
		if session == nil || session.Transport() != engineio.WebTransport || session.Revision() != engineio.Revision4 {
			t.Fatal("no session on WebTransport")
		}
		if r := session.Request(); r.URL.Path != "/engine.io/" || r.RemoteAddr != "192.0.2.7:7777" || session.RemoteAddr() != r.RemoteAddr {
			t.Errorf("request %s from %s", r.URL, r.RemoteAddr)
		}
		p.packet("4hello")
		p.want("4hello")
		p.raw("\x83\x01\x02\x03")
		p.want("b\x01\x02\x03")
		p.raw("\x01b") // nothing, in base64
		p.want("b")
		long := strings.Repeat("x", 70_000)
		p.raw("\x7f\x00\x00\x00\x00\x00\x01\x11\x714" + long)
		p.want("4" + long)
		synctest.Wait()
		if !session.Writable() {
			t.Error("nothing waits, and it is not writable")
		}
		all := engineio.Prepare(engineio.Message{Data: []byte("x")}, engineio.Message{Data: []byte("y"), Binary: true})
		_ = session.SendPrepared(all)
		fan := engineio.NewFan()
		fan.Send(session, all)
		fan.Close()
		p.want("4x", "by", "4x", "by")
		p.Close()
		synctest.Wait()
		if s.reasons() != "transport close;" || s.Len() != 0 {
			t.Errorf("reasons %q, %d sessions", s.reasons(), s.Len())
		}
		if err := session.Send(engineio.Message{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// A session on polling changes over. What waits for a poll comes on the stream, in order.
func TestWebTransportUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreams(t, engineio.Options{})
		defer s.close()
		session, url := open(t, s.Server, s.recorder, "EIO=4")
		poll := serve(t, s.Server, newExchange("GET", url, ""))
		opening := fmt.Sprintf(`0{"sid":"%s"}`, session.ID())
		p := s.dial(string(rune(len(opening))) + opening)
		p.packet("2probe")
		p.want("3probe")
		synctest.Wait()
		poll.want(t, http.StatusOK, "6")
		_ = session.Send(engineio.Message{Data: []byte("one")}, engineio.Message{Data: []byte{2}, Binary: true})
		if session.Transport() != engineio.Polling {
			t.Error("upgraded by a probe")
		}
		// A second transport is too late.
		s.dial(string(rune(len(opening))) + opening).ends()
		p.packet("5")
		p.want("4one", "b\x02")
		if session.Transport() != engineio.WebTransport {
			t.Error("not upgraded")
		}
		p.packet("4two")
		p.want("4two")
		s.dial(string(rune(len(opening))) + opening).ends()
		serve(t, s.Server, newExchange("GET", url, "")).want(t, http.StatusBadRequest, `{"code":3,"message":"Bad request"}`)
		p.Close()
		synctest.Wait()
		if s.reasons() != "transport close;" {
			t.Errorf("reasons %q", s.reasons())
		}
	})
}

// An upgrade that goes wrong leaves the session on polling.
func TestWebTransportUpgradeFails(t *testing.T) {
	for _, c := range []struct {
		name string
		fail func(p *page)
	}{
		{"the client goes", func(p *page) { p.Close() }},
		{"another packet", func(p *page) { p.packet("4x"); p.ends() }},
		{"5 before the probe", func(p *page) { p.packet("5"); p.ends() }},
		{"binary", func(p *page) { p.raw("\x81x"); p.ends() }},
		{"no packet", func(p *page) { p.raw("\x00"); p.ends() }},
		{"nothing", func(p *page) { time.Sleep(6 * time.Second); p.ends() }},
		{"nothing behind the probe", func(p *page) {
			p.packet("2probe")
			p.want("3probe")
			time.Sleep(6 * time.Second)
			p.ends()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStreams(t, engineio.Options{UpgradeTimeout: 5 * time.Second})
				defer s.close()
				session, url := open(t, s.Server, s.recorder, "EIO=4")
				opening := fmt.Sprintf(`0{"sid":"%s"}`, session.ID())
				p := s.dial(string(rune(len(opening))) + opening)
				synctest.Wait()
				c.fail(p)
				synctest.Wait()
				poll := serve(t, s.Server, newExchange("GET", url, ""))
				_ = session.Send(engineio.Message{Data: []byte("still here")})
				poll.want(t, http.StatusOK, "4still here")
				// And may try again.
				p = s.dial(string(rune(len(opening))) + opening)
				p.packet("2probe")
				p.want("3probe")
				p.packet("5")
				synctest.Wait()
				if session.Transport() != engineio.WebTransport {
					t.Error("not upgraded")
				}
			})
		})
	}
}

// Whatever is no beginning of a session ends the stream, and is told.
func TestWebTransportRefused(t *testing.T) {
	for _, c := range []struct {
		name, beginning string
	}{
		{"length 0", "\x00"},
		{"length 2^63", "\x7f\x80\x00\x00\x00\x00\x00\x00\x00"},
		{"longer than a first packet is", "\x7e\x10\x01"},
		{"a message", "\x024x"},
		{"a ping", "\x012"},
		{"binary", "\x810"},
		{"type 7", "\x017"},
		{"no UTF-8", "\x020\xff"},
		{"no JSON", "\x030{x"},
		{"JSON without a sid", "\x030{}"},
		{"an empty sid", "\x0b0{\"sid\":\"\"}"},
		{"a sid that is no string", "\x0a0{\"sid\":1}"},
		{"an unknown sid", "\x0e0{\"sid\":\"abc\"}"},
		{"revision 3", ""},
		{"nothing", "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var refused []error
				s := newStreams(t, engineio.Options{Refused: func(_ *http.Request, err error) { refused = append(refused, err) }})
				defer s.close()
				beginning := c.beginning
				switch beginning {
				case "":
					session, _ := open(t, s.Server, s.recorder, "EIO=3")
					opening := fmt.Sprintf(`0{"sid":"%s"}`, session.ID())
					beginning = string(rune(len(opening))) + opening
				case "-":
					beginning = ""
				}
				begun := time.Now()
				s.dial(beginning).ends()
				synctest.Wait()
				if waited := time.Since(begun); (waited > 0) != (c.beginning == "-") || waited > 10*time.Second {
					t.Errorf("ended after %v", waited)
				}
				if len(refused) != 1 || s.reasons() != "" {
					t.Errorf("refused %v, reasons %q", refused, s.reasons())
				}
			})
		})
	}
}

func TestWebTransportNotAllowed(t *testing.T) {
	for name, o := range map[string]engineio.Options{
		"by Allow":       {Allow: func(*http.Request) (any, error) { return nil, errors.New("not you") }},
		"no room":        {MaxSessions: 1},
		"by the options": {Revisions: []engineio.Revision{engineio.Revision3, engineio.Revision4}, NoUpgrade: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStreams(t, o)
				defer s.close()
				beginning := "\x010"
				if o.Allow == nil {
					session, _ := open(t, s.Server, s.recorder, "EIO=4")
					if o.NoUpgrade {
						opening := fmt.Sprintf(`0{"sid":"%s"}`, session.ID())
						beginning = string(rune(len(opening))) + opening
					}
				}
				s.dial(beginning).ends()
				synctest.Wait()
				if s.reasons() != "" {
					t.Errorf("reasons %q", s.reasons())
				}
			})
		})
	}
}

// What a session is ended for, and that it is.
func TestWebTransportBadPackets(t *testing.T) {
	for _, c := range []struct{ name, wire, reason string }{
		{"length 0", "\x00", "parse error;"},
		{"larger than maxPayload", "\x7e\x03\xe9", "parse error;"},
		{"larger than maxPayload, binary", "\xff\x00\x00\x00\x01\x00\x00\x00\x00", "parse error;"},
		{"no UTF-8", "\x024\xff", "parse error;"},
		{"type 7", "\x017", "parse error;"},
		{"a ping", "\x012", "transport error;"},
		{"an open packet", "\x010", "transport error;"},
		{"a close packet", "\x011", "transport close;"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStreams(t, engineio.Options{MaxPayload: 1000})
				defer s.close()
				p := s.dial("\x010")
				p.opened()
				p.raw(c.wire)
				p.ends()
				synctest.Wait()
				if s.reasons() != c.reason || s.Len() != 0 {
					t.Errorf("reasons %q, want %q", s.reasons(), c.reason)
				}
			})
		})
	}
}

func TestWebTransportHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreams(t, engineio.Options{})
		defer s.close()
		p := s.dial("\x010")
		p.opened()
		begun := time.Now()
		p.want("2")
		if waited := time.Since(begun); waited < 25*time.Second || waited > 26*time.Second {
			t.Errorf("a ping after %v", waited)
		}
		p.packet("3")
		p.want("2")
		p.ends() // 20 s later
		synctest.Wait()
		if s.reasons() != "ping timeout;" {
			t.Errorf("reasons %q", s.reasons())
		}
	})
}

// A client that does not read is disconnected, and costs no more than MaxQueue.
func TestWebTransportSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreams(t, engineio.Options{MaxQueue: 10_000})
		defer s.close()
		p := s.dial("\x010")
		session := s.Session(p.opened())
		kilobyte := engineio.Message{Data: make([]byte, 1000), Binary: true}
		sent := 0
		for session.Send(kilobyte) == nil {
			if sent++; sent > 100 {
				t.Fatal("nothing is too much")
			}
		}
		synctest.Wait()
		if s.reasons() != "transport error;" || sent < 8 {
			t.Errorf("reasons %q after %d", s.reasons(), sent)
		}
		if _, err := io.Copy(io.Discard, p); err != nil {
			t.Error(err)
		}
	})
}

// What is sent before the end still comes, and the client has time to take it.
func TestWebTransportClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreams(t, engineio.Options{})
		defer s.close()
		p := s.dial("\x010")
		session := s.Session(p.opened())
		_ = session.Send(engineio.Message{Data: []byte("bye")})
		session.Close()
		if s.reasons() != "forced close;" || s.Len() != 0 {
			t.Errorf("reasons %q", s.reasons())
		}
		begun := time.Now()
		p.want("4bye")
		p.packet("4too late")
		p.ends()
		if waited := time.Since(begun); waited != time.Second {
			t.Errorf("ended after %v", waited)
		}
		if len(s.heard) > 0 {
			t.Errorf("heard %q", s.heard)
		}
		// A client that goes first is not waited for, nor is one to whom nothing was sent.
		p = s.dial("\x010")
		session = s.Session(p.opened())
		synctest.Wait()
		time.Sleep(time.Minute / 6)
		begun = time.Now()
		session.Close()
		p.ends()
		p = s.dial("\x010")
		session = s.Session(p.opened())
		session.Close()
		p.Close()
		s.serving.Wait()
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("ended after %v", waited)
		}
	})
}

// A client that takes nothing does not hold the end up.
func TestWebTransportCloseStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreams(t, engineio.Options{})
		p := s.dial("\x010")
		session := s.Session(p.opened())
		_ = session.Send(engineio.Message{Data: []byte("never read")})
		session.Close()
		begun := time.Now()
		s.serving.Wait()
		if waited := time.Since(begun); waited != time.Second {
			t.Errorf("ended after %v", waited)
		}
		s.close()
	})
}

func TestWebTransportDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreams(t, engineio.Options{})
		p := s.dial("\x010")
		p.opened()
		waiting := s.dial("")
		time.Sleep(5 * time.Second)
		begun := time.Now()
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		p.ends()
		waiting.ends()
		if waited := time.Since(begun); waited > 100*time.Millisecond {
			t.Errorf("drained after %v", waited)
		}
		if s.reasons() != "server shutting down;" {
			t.Errorf("reasons %q", s.reasons())
		}
		if e := s.AdmitWebTransport(connectRequest()); e == nil || e.Status != http.StatusServiceUnavailable {
			t.Errorf("admitted: %v", e)
		}
		s.dial("\x010").ends()
		s.close()
		s.dial("").ends()
		s.serving.Wait()
	})
}

func TestAdmitWebTransport(t *testing.T) {
	request := func(path, origin string) *http.Request {
		r := httptest.NewRequest("CONNECT", path, nil)
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		return r
	}
	for _, c := range []struct {
		name   string
		o      engineio.Options
		r      *http.Request
		status int
	}{
		{"as it should be", engineio.Options{Transports: everyTransport}, request("/engine.io/", ""), 0},
		{"of the same host", engineio.Options{Transports: everyTransport}, request("/engine.io/", "https://example.com"), 0},
		{"of another that may", engineio.Options{Transports: everyTransport, Origins: []string{"*.example.net"}}, request("/engine.io/", "https://www.example.net"), 0},
		{"of another", engineio.Options{Transports: everyTransport}, request("/engine.io/", "https://www.example.net"), http.StatusForbidden},
		{"elsewhere", engineio.Options{Transports: everyTransport}, request("/", ""), http.StatusNotFound},
		{"0.9", engineio.Options{Transports: everyTransport}, request("/engine.io/1/", ""), http.StatusNotFound},
		{"off by default", engineio.Options{}, request("/engine.io/", ""), http.StatusNotFound},
		{"without revision 4", engineio.Options{Transports: everyTransport, Revisions: []engineio.Revision{engineio.Revision3}}, request("/engine.io/", ""), http.StatusNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			told := 0
			c.o.Refused = func(*http.Request, error) { told++ }
			s := newStreams(t, c.o)
			if c.name == "off by default" {
				s.Server = engineio.NewServer(s.recorder, &c.o)
			}
			e := s.AdmitWebTransport(c.r)
			if e == nil && c.status != 0 || e != nil && e.Status != c.status || (e != nil) != (told == 1) {
				t.Errorf("%v, want %d; told %d times", e, c.status, told)
			}
			s.close()
		})
	}
}

// The name of the transport means nothing in a request of HTTP: it opens no session, and
// upgrades none.
func TestWebTransportByHTTP(t *testing.T) {
	s := newStreams(t, engineio.Options{Elsewhere: func(http.ResponseWriter, *http.Request, engineio.SID) bool {
		t.Error("a sibling is asked")
		return false
	}})
	defer s.close()
	session, _ := open(t, s.Server, s.recorder, "EIO=4")
	for _, query := range []string{"", "&sid=" + string(session.ID()), "&sid=of_a_sibling"} {
		for _, header := range [][]string{nil, {"Upgrade", "websocket", "Connection", "Upgrade"}, {"Upgrade", "webtransport", "Connection", "Upgrade"}} {
			for _, method := range []string{"GET", "POST", "CONNECT"} {
				x := newExchange(method, "/engine.io/?EIO=4&transport=webtransport"+query, "", header...)
				serve(t, s.Server, x).want(t, http.StatusBadRequest, `{"code":0,"message":"Transport unknown"}`)
			}
		}
	}
}

// Clients are told of the transports that they may upgrade to, those of revision 4 of all.
func TestUpgrades(t *testing.T) {
	for _, c := range []struct {
		name       string
		o          engineio.Options
		eio, wants string
	}{
		{"by default", engineio.Options{Transports: []engineio.TransportName{engineio.Polling, engineio.WebSocket}}, "4", `["websocket"]`},
		{"with WebTransport", engineio.Options{}, "4", `["websocket","webtransport"]`},
		{"revision 3", engineio.Options{}, "3", `["websocket"]`},
		{"without WebSocket", engineio.Options{Transports: []engineio.TransportName{engineio.Polling, engineio.WebTransport}}, "4", `["webtransport"]`},
		{"off", engineio.Options{NoUpgrade: true}, "4", `[]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStreams(t, c.o)
			defer s.close()
			x := serve(t, s.Server, newExchange("GET", "/engine.io/?transport=polling&EIO="+c.eio, ""))
			if _, answer := x.got(); !strings.Contains(answer, `"upgrades":`+c.wants+",") {
				t.Errorf("%s, want %s", answer, c.wants)
			}
		})
	}
}

// An upgrade of a session that another worker has goes there, from its first byte on.
func TestWebTransportElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there := newStreams(t, engineio.Options{})
		defer there.close()
		var relaying context.Context
		here := newStreams(t, engineio.Options{ElsewhereStream: func(ctx context.Context, st engineio.Stream, read []byte, remote string, id engineio.SID) bool {
			if there.Session(id) == nil {
				return false
			}
			relaying = ctx
			ours, theirs := net.Pipe()
			var relay sync.WaitGroup
			relay.Go(func() { there.ServeGivenStream(theirs, remote) })
			relay.Go(func() {
				_, _ = ours.Write(read)
				_, _ = io.Copy(ours, st)
				ours.Close()
			})
			_, _ = io.Copy(st, ours)
			_ = st.SetReadDeadline(time.Unix(1, 0))
			relay.Wait()
			return true
		}})
		defer here.close()
		session, _ := open(t, there.Server, there.recorder, "EIO=4")
		opening := fmt.Sprintf(`0{"sid":"%s"}`, session.ID())
		p := here.dial(string(rune(len(opening))) + opening)
		p.packet("2probe")
		p.want("3probe")
		p.packet("5")
		p.packet("4x")
		p.want("4x")
		if session.RemoteAddr() != "192.0.2.7:7777" {
			t.Error(session.RemoteAddr())
		}
		// A worker that drains relays no more.
		if err := here.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		p.ends()
		if relaying.Err() == nil {
			t.Error("the relay's context goes on")
		}
		synctest.Wait()
		if there.reasons() != "transport close;" {
			t.Errorf("reasons %q", there.reasons())
		}
		// What a sibling gives opens no session.
		there.serve("\x010", func(st engineio.Stream) { there.ServeGivenStream(st, "") }).ends()
	})
}
