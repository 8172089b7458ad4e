package engineio_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/chaussette/chaussette/socketio/engineio"
	"github.com/chaussette/chaussette/ws/wstest"
)

// log is an Observer that writes down what it is told.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

func (l *log) Opened(*engineio.Session)                                { l.note("opened") }
func (l *log) Closed(_ *engineio.Session, r engineio.Reason)           { l.note("closed: %s", r) }
func (l *log) Received(_ *engineio.Session, n int)                     { l.note("received %d", n) }
func (l *log) Sent(_ *engineio.Session, n, bytes int)                  { l.note("sent %d of %d", n, bytes) }
func (l *log) Upgraded(_ *engineio.Session, to engineio.TransportName) { l.note("upgraded to %s", to) }

// An Observer hears of each message once, whichever way it goes.
func TestObserver(t *testing.T) {
	l := listen(t, &engineio.Options{})
	o := &log{}
	if l.Observed() {
		t.Error("observed by nobody")
	}
	l.Observe(o)
	s, url := open(t, l.Server, l.recorder, "EIO=4")
	serve(t, l.Server, newExchange("POST", url, "4abc")) // which is echoed
	if n := l.Polling(); n != 1 || !l.Observed() {
		t.Errorf("%d on polling", n)
	}
	c := wstest.Dial(t, l.address, wstest.Handshake{Path: "/engine.io/?transport=websocket&EIO=4&sid=" + string(s.ID())})
	c.Frames(wstest.F(wstest.Text, "2probe"))
	c.Expect(wstest.F(wstest.Text, "3probe"))
	c.Frames(wstest.F(wstest.Text, "5"))
	c.Expect(wstest.F(wstest.Text, "4abc"))
	_ = s.Send(engineio.Message{Data: []byte("four")}, engineio.Message{Data: []byte{1}, Binary: true})
	_ = s.SendPrepared(engineio.Prepare(engineio.Message{Data: []byte("prepared")}))
	fan := engineio.NewFan()
	fan.Send(s, engineio.Prepare(engineio.Message{Data: []byte("gathered by a fan")}))
	fan.Close()
	if n := l.Polling(); n != 0 {
		t.Errorf("%d on polling", n)
	}
	s.Close()
	_ = s.Send(engineio.Message{Data: []byte("too late")})
	o.mu.Lock()
	defer o.mu.Unlock()
	if got := strings.Join(o.lines, ", "); got != "opened, received 3, sent 1 of 3, upgraded to websocket, sent 2 of 5, sent 1 of 8, sent 1 of 17, closed: forced close" {
		t.Error(got)
	}
}
