package webtransport

import (
	"context"
	"net/http"
	"time"

	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
	wt "github.com/quic-go/webtransport-go"
)

// serveHTTP serves a request of HTTP/3: an extended CONNECT for WebTransport, to which this
// goroutine belongs to the end of the session.
func (l *Listener) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || r.Proto != "webtransport" {
		http.Error(w, "HTTP/3 is for WebTransport alone here", http.StatusNotFound)
		return
	}
	r.RequestURI = r.URL.RequestURI() // which is the authority, from http3
	if e := l.engine.AdmitWebTransport(r); e != nil {
		w.WriteHeader(e.Status)
		return
	}
	session, err := l.sessions.Upgrade(w, r)
	if err != nil {
		l.log.Info("webtransport session refused", "error", err, "remote", r.RemoteAddr)
		w.WriteHeader(http.StatusBadRequest) // no use where it is open already
		return
	}
	s := &stream{session: session, connect: w.(http3.HTTPStreamer).HTTPStream()}
	timeout := l.engine.Options().UpgradeTimeout
	ctx, cancel := context.WithTimeout(session.Context(), timeout)
	defer cancel()
	if s.Stream, err = session.AcceptStream(ctx); err != nil {
		if session.Context().Err() == nil {
			l.log.Info("webtransport session ended: its client has opened no stream", "timeout", timeout, "remote", r.RemoteAddr)
		}
		_ = s.Close()
		return
	}
	l.engine.ServeStream(s, r)
}

// stream is the first stream of a session, which ends with it.
type stream struct {
	*wt.Stream
	session *wt.Session
	connect *http3.Stream // that of the CONNECT
}

// closeSession is WT_CLOSE_SESSION (draft-ietf-webtrans-http3, 6).
const closeSession http3.CapsuleType = 0x2843

// farewell is how long a client may take to answer the end of its session.
const farewell = time.Second

// Close ends the session in peace, with the code 0 and no text.
//
// Session.CloseWithError asks the client to send no more on the CONNECT stream, before it
// has told it that the session ends. Chromium takes that for the loss of the connection:
// the page sees an error in place of the end. So the end is told here, and CloseWithError
// has the rest.
func (s *stream) Close() error {
	if s.session.Context().Err() == nil {
		_ = s.connect.SetWriteDeadline(time.Now().Add(farewell))
		if err := http3.WriteCapsule(quicvarint.NewWriter(s.connect), closeSession, make([]byte, 4)); err == nil && s.connect.Close() == nil {
			answered := time.NewTimer(farewell)
			defer answered.Stop()
			select {
			case <-s.session.Context().Done():
			case <-answered.C:
			}
		}
	}
	return s.session.CloseWithError(0, "")
}
