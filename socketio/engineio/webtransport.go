package engineio

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/chaussette/chaussette/ws"
)

// Stream is the bidirectional stream that the client of a WebTransport session has opened.
// One goroutine reads it, and another one writes; a deadline may be set by any, and ends a
// call that waits. Close ends the whole session. It is called once, when nobody reads or
// writes any more.
type Stream interface {
	io.ReadWriteCloser
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// AdmitWebTransport tells whether r, an extended CONNECT, may open a WebTransport session.
// If not, the client is to get the status that is returned.
func (srv *Server) AdmitWebTransport(r *http.Request) *ws.RefusedError {
	refuse := func(status int, why string) *ws.RefusedError {
		e := &ws.RefusedError{Status: status, Reason: why}
		srv.options.Logger.Info("webtransport session refused", "status", status, "reason", why, "remote", r.RemoteAddr, "origin", r.Header.Get("Origin"))
		srv.refused(func() *http.Request { return r }, e)
		return e
	}
	rest, ok := srv.below(r.URL.Path)
	switch {
	case !ok || rest != "" || !srv.serves(WebTransport) || !slices.Contains(srv.options.Revisions, Revision4):
		return refuse(http.StatusNotFound, "no WebTransport at this path")
	case !ws.OriginAllowed(r, srv.options.Origins):
		return refuse(http.StatusForbidden, "origin not allowed")
	case srv.draining():
		return refuse(http.StatusServiceUnavailable, errClosed.Error())
	}
	return nil
}

// ServeStream serves st, the first stream of the session that was opened with r, and
// returns when it is closed. The session of WebTransport carries one of Engine.IO: a new
// one, or, after an upgrade, one that began on polling.
func (srv *Server) ServeStream(st Stream, r *http.Request) { srv.serveStream(st, r, r.RemoteAddr) }

// ServeGivenStream is ServeStream for what another worker's Options.ElsewhereStream gives,
// from its first byte on: the upgrade of a session that is here.
func (srv *Server) ServeGivenStream(st Stream, remote string) { srv.serveStream(st, nil, remote) }

// maxOpening bounds a client's first packet.
const maxOpening = 4 << 10

// serveStream serves st. r is nil for a stream that another worker gives.
func (srv *Server) serveStream(st Stream, r *http.Request, remote string) {
	t := &webTransport{server: srv, stream: st, remote: remote}
	if !srv.addStream(t) {
		_ = st.Close()
		return
	}
	defer srv.removeStream(t)
	defer t.finish()
	in := &packetReader{r: st, max: min(srv.options.MaxPayload, maxOpening)}
	defer in.release()
	t.expect(srv.options.UpgradeTimeout)
	opening, err := in.next()
	if err == nil && (opening.typ != PacketOpen || opening.Binary) {
		err = errPacket
	}
	if err != nil {
		srv.refuseStream(r, remote, ErrBadRequest, err)
		return
	}
	if len(opening.Data) == 0 {
		srv.openStream(t, in, r)
		return
	}
	var asked struct {
		SID SID `json:"sid"`
	}
	if err := json.Unmarshal(opening.Data, &asked); err != nil || asked.SID == "" {
		srv.refuseStream(r, remote, ErrBadRequest, errors.Join(err, errPacket))
		return
	}
	s := srv.Session(asked.SID)
	if s == nil && r != nil && srv.options.ElsewhereStream != nil {
		t.expect(0)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		t.relayed(cancel)
		if srv.options.ElsewhereStream(ctx, st, appendPacket(nil, opening), remote, asked.SID) {
			return
		}
	}
	srv.upgradeStream(t, in, r, s)
}

// openStream opens a session on t.
func (srv *Server) openStream(t *webTransport, in *packetReader, r *http.Request) {
	if r == nil { // a worker gives upgrades alone
		srv.refuseStream(nil, t.remote, ErrUnknownSID, nil)
		return
	}
	value, refused := srv.allow(r)
	if refused != nil {
		srv.refuseStream(r, t.remote, refused, nil)
		return
	}
	full := func(err error) {
		srv.options.Logger.Warn("engine.io request refused", "reason", err, "transport", WebTransport, "remote", t.remote)
		srv.refused(func() *http.Request { return r }, err)
	}
	if err := srv.room(); err != nil {
		full(err)
		return
	}
	s := srv.newSession(r, Revision4, value)
	s.head, s.conn = newHandshake(r), t
	// The open packet comes first, whatever others send to the session from now on.
	t.control(s, packet{PacketOpen, Message{Data: srv.open(s, false)}})
	if err := srv.add(s); err != nil {
		full(err)
		return
	}
	t.expect(0)
	s.mu.Lock()
	s.beginLocked()
	s.mu.Unlock()
	srv.handler.Open(s)
	in.max = srv.options.MaxPayload
	for {
		p, err := in.next()
		if err != nil {
			t.ended(s, err)
			return
		}
		_ = s.receive(p) // an error has ended s, and what comes until the client has gone is dropped
	}
}

// upgradeStream has s, which may be nil, change over to t.
func (srv *Server) upgradeStream(t *webTransport, in *packetReader, r *http.Request, s *Session) {
	if s = s.timely(); s == nil {
		srv.refuseStream(r, t.remote, ErrUnknownSID, nil)
		return
	}
	if s.revision != Revision4 || !srv.serves(WebTransport) {
		srv.refuseStream(r, t.remote, ErrBadRequest, nil)
		return
	}
	t.expect(0) // until the session gives it up
	p := s.newProbe(t)
	if p == nil {
		srv.refuseStream(r, t.remote, ErrBadRequest, errUpgraded)
		return
	}
	in.max = srv.options.MaxPayload
	for {
		q, err := in.next()
		switch {
		case err != nil:
			if p.gone() {
				t.ended(s, err)
			}
			return
		case s.carriedBy(t):
			_ = s.receive(q)
		case q.Binary:
			p.take(nil)
		default:
			p.take(append([]byte{byte(q.typ)}, q.Data...))
		}
	}
}

var errUpgraded = errors.New("the session has been upgraded, or is about to be")

// refuseStream notes why a session of WebTransport ends, which its client is not told.
func (srv *Server) refuseStream(r *http.Request, remote string, e *Error, err error) {
	log := srv.options.Logger
	if err != nil {
		log = log.With("error", err)
	}
	log.Info("engine.io request refused", "code", e.Code, "reason", e.Message, "transport", WebTransport, "remote", remote)
	if r != nil {
		srv.refused(func() *http.Request { return r }, e)
	}
}

func (srv *Server) addStream(t *webTransport) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.ended {
		return false
	}
	srv.serving.Add(1)
	if srv.streams == nil {
		srv.streams = map[*webTransport]struct{}{}
	}
	srv.streams[t] = struct{}{}
	return true
}

func (srv *Server) removeStream(t *webTransport) {
	srv.mu.Lock()
	delete(srv.streams, t)
	srv.emptyLocked()
	srv.mu.Unlock()
	srv.serving.Done()
}

// cutStreamsLocked ends streams at once: all, or those that no session here is on.
func (srv *Server) cutStreamsLocked(all bool) {
	for t := range srv.streams {
		t.cut(all)
	}
}

// webTransport is a Stream as a transport.
//
// The goroutine of ServeStream reads it, and closes it in the end. Another one writes while
// there is something to be written.
type webTransport struct {
	server  *Server
	stream  Stream
	remote  string
	writers sync.WaitGroup

	mu      sync.Mutex // guards what follows
	queue   []byte     // what is to be written
	taken   int        // bytes that are being written
	writing bool
	closed  bool      // takes nothing any more
	spoken  bool      // something was sent, so a session is on it or was
	last    time.Time // when something was written last
	failed  error     // why it was closed, if not in peace
	stop    func()    // stops a relay; nil where there is none
}

// lastWords is how long what was written may take to reach the client before the session
// is closed, with which it is lost.
const lastWords = time.Second

func (*webTransport) name() TransportName    { return WebTransport }
func (*webTransport) request() *http.Request { return nil } // sessions on it have a head
func (t *webTransport) remoteAddr() string   { return t.remote }
func (t *webTransport) giveUp(string)        { t.close("") }
func (t *webTransport) control(_ *Session, p packet) {
	_ = t.push(func(b []byte) []byte { return appendPacket(b, p) })
}

func (t *webTransport) waits() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.taken+len(t.queue) > 0
}

func (t *webTransport) send(messages []Message) error {
	return t.push(func(b []byte) []byte { return appendMessages(b, messages) })
}

func (t *webTransport) sendPrepared(_ *Session, p *Prepared) error {
	packets := p.packets()
	return t.push(func(b []byte) []byte { return append(b, packets...) })
}

// push has written what more appends to the queue.
func (t *webTransport) push(more func([]byte) []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return net.ErrClosed
	}
	idle := t.taken+len(t.queue) == 0
	t.queue = more(t.queue)
	if !idle && int64(t.taken+len(t.queue)) > t.server.options.MaxQueue {
		t.failLocked(ErrQueueFull)
		return ErrQueueFull
	}
	t.spoken = true
	if !t.writing {
		t.writing = true
		t.writers.Go(t.write)
	}
	return nil
}

// write writes until there is nothing left.
func (t *webTransport) write() {
	t.mu.Lock()
	defer t.mu.Unlock()
	var spare []byte
	for len(t.queue) > 0 {
		taking := t.queue
		t.queue, t.taken = spare, len(taking)
		t.mu.Unlock()
		_, err := t.stream.Write(taking)
		t.mu.Lock()
		t.taken, t.last, spare = 0, time.Now(), taking[:0]
		if err != nil {
			t.failLocked(err)
		}
	}
	t.queue = nil // an idle session has no buffer
	t.writing = false
	if t.closed {
		t.partLocked()
	}
}

// relayed has stop called when t is cut.
func (t *webTransport) relayed(stop func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop = stop; t.closed {
		stop()
	}
}

// failLocked ends t at once.
func (t *webTransport) failLocked(err error) {
	if t.stop != nil {
		t.stop() // before the deadlines, which a relay may set as well
	}
	if t.failed == nil {
		t.failed = err
	}
	t.closed, t.queue = true, nil
	_ = t.stream.SetWriteDeadline(past)
	_ = t.stream.SetReadDeadline(past)
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// close has t end when all is written, and the client has had time to get it.
func (t *webTransport) close(Reason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.closed = true
	_ = t.stream.SetWriteDeadline(time.Now().Add(lastWords))
	if !t.writing {
		t.partLocked()
	}
}

// partLocked ends the reading: the client may say goodbye in the meantime.
func (t *webTransport) partLocked() {
	if t.failed == nil {
		_ = t.stream.SetReadDeadline(t.last.Add(lastWords))
	}
}

// cut ends t at once, unless a session is on it and all is false.
func (t *webTransport) cut(all bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if all || !t.spoken {
		t.failLocked(errClosed)
	}
}

// expect bounds the time until the next packet; 0 is for ever.
func (t *webTransport) expect(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed: // its end has a deadline of its own
	case d == 0:
		_ = t.stream.SetReadDeadline(time.Time{})
	default:
		_ = t.stream.SetReadDeadline(time.Now().Add(d))
	}
}

// ended ends s, whose transport t is, when reading has failed with err.
func (t *webTransport) ended(s *Session, err error) {
	t.mu.Lock()
	if t.failed != nil {
		err = t.failed
	}
	t.mu.Unlock()
	reason := TransportClose
	switch {
	case errors.Is(err, errPacket), errors.Is(err, errLength):
		reason = ParseError
	case errors.Is(err, ErrQueueFull):
		reason = TransportError
	}
	s.end(reason, err)
}

// finish closes the stream. What is being written is given up, since the reader has gone.
func (t *webTransport) finish() {
	t.mu.Lock()
	t.closed = true
	_ = t.stream.SetWriteDeadline(past)
	t.mu.Unlock()
	t.writers.Wait()
	_ = t.stream.Close()
}
