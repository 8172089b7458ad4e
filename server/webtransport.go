package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/chaussette/chaussette/listener"
	"github.com/chaussette/chaussette/listener/siblings"
	"github.com/chaussette/chaussette/socketio/engineio"
	"github.com/chaussette/chaussette/socketio/engineio/webtransport"
)

// checkWebTransport finds what is wrong with --webtransport, whatever the backend.
func checkWebTransport(c Config) error {
	_, port, err := net.SplitHostPort(c.WebTransport)
	if n, e := strconv.Atoi(port); err != nil || e != nil || n < 0 || n > 65535 {
		return errors.New("a UDP address is host:port, such as 0.0.0.0:443 or :443")
	}
	if c.CertFile == "" {
		return errors.New("it needs --certfile and --keyfile: there is no WebTransport without TLS")
	}
	return nil
}

// addWebTransport has the transport served beside the others.
func addWebTransport(o *engineio.Options) {
	if len(o.Transports) == 0 {
		o.Transports = []engineio.TransportName{engineio.Polling, engineio.WebSocket}
	}
	if !slices.Contains(o.Transports, engineio.WebTransport) {
		o.Transports = append(slices.Clip(o.Transports), engineio.WebTransport)
	}
}

// listenWebTransport returns nil for a worker that is not to have it.
func (w *Worker) listenWebTransport(s *sockets, listeners listener.Listeners) (*webtransport.Listener, error) {
	address := w.config.WebTransport
	switch {
	case address == "":
		return nil, nil
	case s.io == nil:
		return nil, &UsageError{fmt.Errorf("--webtransport %s: the app registers no Socket.IO events", address)}
	}
	limits := w.config.Limits.WithDefaults()
	l, err := webtransport.Listen(address, &webtransport.Options{
		Engine:        s.io.Engine(),
		TLS:           w.tls,
		Shared:        slices.ContainsFunc(listeners, (*listener.Listener).Shared),
		MaxConns:      max(limits.Connections, 0),
		MaxHeaderSize: max(limits.HeaderSize, 0),
		Logger:        w.log,
	})
	if err != nil {
		return nil, &OpenError{"the UDP socket of --webtransport", err}
	}
	return l, nil
}

// takeStreams has the streams served that siblings give, for sessions of e.
func (f *kin) takeStreams(e *engineio.Server) {
	if f == nil {
		return
	}
	f.exchange.TakeStreams(func(c net.Conn, remote string) {
		f.streams.Go(func() { e.ServeGivenStream(c, remote) })
	})
}

// elsewhereStream has the worker with whose tag a session id begins serve a stream, as long
// as it lasts.
func (f *kin) elsewhereStream(ctx context.Context, st engineio.Stream, read []byte, remote string, id engineio.SID) bool {
	if len(id) < siblings.TagLength {
		return false
	}
	to := siblings.Tag(id[:siblings.TagLength])
	c, err := f.exchange.GiveStream(read, remote, to)
	if err != nil {
		if !errors.Is(err, siblings.ErrGone) {
			f.log.Warn("a stream of WebTransport could not be given to a sibling", "sibling", to, "error", err)
		}
		return false
	}
	f.log.Debug("a stream of WebTransport is relayed to a sibling", "sibling", to, "remote", remote)
	relay(ctx, st, c)
	return true
}

// relayPatience is how long either end of a relay may take nothing of what there is for it.
const relayPatience = 30 * time.Second

// relay copies between the two until either ends, or ctx, and closes c.
func relay(ctx context.Context, st engineio.Stream, c net.Conn) {
	closed := context.AfterFunc(ctx, func() { _ = c.Close() }) // also where the sibling does not read
	defer closed()
	var up sync.WaitGroup
	up.Go(func() {
		pass(ctx, c, st)
		_ = c.Close() // ends the way down
	})
	pass(ctx, st, c)
	_ = c.Close()
	_ = st.SetReadDeadline(past) // ends the way up
	up.Wait()
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// pass copies until an error.
func pass(ctx context.Context, to, from engineio.Stream) {
	b := make([]byte, 4<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			_ = to.SetWriteDeadline(time.Now().Add(relayPatience))
			if ctx.Err() != nil { // the Server has set another, just now
				_ = to.SetWriteDeadline(past)
			}
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
