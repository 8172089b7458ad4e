package adminui

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/chaussette/chaussette/socketio"
)

// logins decides who comes in: by the password, or by the session that an earlier login
// began, on whatever worker.
type logins struct {
	ns       *socketio.Namespace
	options  *Options
	log      *slog.Logger
	sessions *sessions
	tries    *tries
	// comparing is held while a password is compared, which keeps a processor busy for a
	// tenth of a second and more: strangers can have one busy, not all.
	comparing chan struct{}
}

// What workers tell and ask one another: with the digest of a session's id and the end of
// the session in Unix milliseconds, or with the digest alone.
const (
	tellSession = "chaussette:adminui:session"
	askSession  = "chaussette:adminui:session?"
)

// What a page is told that is refused. The first is what Node's says, too.
var (
	errCredentials = errors.New("invalid credentials")
	errTries       = errors.New("too many attempts, try again in a minute")
)

// login is the data of a socket of the page. It has nothing that JSON shows.
type login struct{ session string }

func newLogins(ns *socketio.Namespace, o *Options) *logins {
	l := &logins{ns: ns, options: o, log: o.Logger, sessions: &sessions{}, tries: &tries{}, comparing: make(chan struct{}, 1)}
	ns.OnServerSide(tellSession, func(args socketio.Args) ([]any, error) {
		var digest string
		var end int64
		if err := args.Decode(&digest, &end); err != nil || len(digest) != 2*sha256.Size {
			return nil, err
		}
		l.sessions.add(digest, l.bounded(end))
		return nil, nil
	})
	ns.OnServerSide(askSession, func(args socketio.Args) ([]any, error) {
		var digest string
		if err := args.Decode(&digest); err != nil {
			return nil, err
		}
		if end := l.sessions.end(digest); !end.IsZero() {
			return []any{end.UnixMilli()}, nil
		}
		return []any{0}, nil
	})
	return l
}

// bounded is the end of a session of which another worker tells.
func (l *logins) bounded(ms int64) time.Time {
	end, last := time.UnixMilli(ms), time.Now().Add(l.options.SessionLifetime)
	if end.After(last) {
		return last
	}
	return end
}

// admit is a middleware. auth is what the page sent.
func (l *logins) admit(s *socketio.Socket, auth socketio.Raw) error {
	var said struct {
		SessionID string `json:"sessionId"`
		Username  string `json:"username"`
		Password  string `json:"password"`
	}
	if err := auth.Unmarshal(&said); err != nil {
		return errCredentials
	}
	if said.SessionID != "" && !l.sessions.end(digestOf(said.SessionID)).IsZero() {
		return nil
	}
	if said.SessionID == "" && said.Username == "" && said.Password == "" {
		return errCredentials // it has not tried
	}
	remote := s.Session().RemoteAddr()
	if !l.tries.take(remote) {
		l.log.Warn("socket.io admin: too many attempts to log in", "remote", remote)
		return errTries
	}
	ctx, cancel := contextOf(s)
	defer cancel()
	if said.SessionID != "" && l.elsewhere(ctx, digestOf(said.SessionID)) {
		l.tries.forgive(remote)
		return nil
	}
	if said.Username == "" && said.Password == "" || !l.matches(ctx, said.Username, said.Password) {
		l.log.Warn("socket.io admin: wrong credentials", "remote", remote)
		return errCredentials
	}
	l.tries.forgive(remote)
	id := make([]byte, 16)
	_, _ = rand.Read(id) // which never fails
	session := hex.EncodeToString(id)
	end := time.Now().Add(l.options.SessionLifetime)
	l.sessions.add(digestOf(session), end)
	if err := l.ns.ServerSideEmit(tellSession, digestOf(session), end.UnixMilli()); err != nil {
		l.log.Warn("socket.io admin: other workers do not hear of the session", "error", err)
	}
	s.SetData(login{session})
	l.log.Info("socket.io admin: logged in", "username", said.Username, "remote", remote)
	return nil
}

// matches compares both, so that the time tells nothing of the name.
func (l *logins) matches(ctx context.Context, username, password string) bool {
	select {
	case l.comparing <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-l.comparing }()
	named := subtle.ConstantTimeCompare([]byte(username), []byte(l.options.Username)) == 1
	return bcrypt.CompareHashAndPassword([]byte(l.options.PasswordHash), []byte(password)) == nil && named
}

// elsewhere asks the other workers: this one may be younger than the session.
func (l *logins) elsewhere(ctx context.Context, digest string) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answers, _ := l.ns.ServerSideEmitWithAck(ctx, askSession, digest) // of those that have
	for _, a := range answers {
		var ms int64
		if a.Decode(&ms) == nil && ms > time.Now().UnixMilli() {
			l.sessions.add(digest, l.bounded(ms))
			return true
		}
	}
	return false
}

// patience is how long other workers may take to answer: Node's never do.
const patience = time.Second

// contextOf bounds what is done for one page.
func contextOf(s *socketio.Socket) (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.Context(), 10*time.Second)
}

// digestOf is what is kept of a session's id, and told to others: nobody can log in by it.
func digestOf(session string) string {
	sum := sha256.Sum256([]byte(session))
	return hex.EncodeToString(sum[:])
}

// hostOf is the client's part of an address: of IPv6 the network, of which one client may
// have every address.
func hostOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	ip := net.ParseIP(host)
	if ip != nil && ip.To4() == nil {
		return ip.Mask(net.CIDRMask(64, 128)).String()
	}
	return host
}
