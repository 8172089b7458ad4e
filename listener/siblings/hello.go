package siblings

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// version is that of the frames and of all that is in them. It changes with each.
const version = 4

// hello is the first frame of each side.
type hello struct {
	Version int    `json:"siblings"`
	Socket  string `json:"socket"`
	Tag     Tag    `json:"tag"`
	PID     int    `json:"pid"`
}

const (
	maxHello = 4 << 10
	// helloTimeout is how long a sibling may take for its hello. One that is stopped does
	// not answer.
	helloTimeout = 5 * time.Second
)

var (
	errOther   = errors.New("it is of another version")
	errStrange = errors.New("it is not of this socket")
	errUser    = errors.New("it runs as another user")
)

func (s *Siblings) sendHello(c *net.UnixConn) error {
	payload, err := json.Marshal(hello{version, s.options.Key, s.tag, os.Getpid()})
	if err != nil {
		return err
	}
	_ = c.SetWriteDeadline(time.Now().Add(helloTimeout))
	_, err = c.Write(newFrame(kindHello, false, payload))
	return err
}

// takeHello reads the other side's hello.
func (s *Siblings) takeHello(r *reader) (hello, error) {
	_ = r.conn.SetReadDeadline(time.Now().Add(helloTimeout))
	defer func() { _ = r.conn.SetReadDeadline(time.Time{}) }()
	r.max = maxHello
	k, payload, fd, err := r.next()
	r.max = s.options.MaxMessage
	if fd >= 0 {
		closeFD(fd)
	}
	var h hello
	switch {
	case err != nil:
		return h, err
	case k != kindHello:
		return h, errStrange
	}
	if err := json.Unmarshal(payload, &h); err != nil {
		return h, fmt.Errorf("%w: %w", errStrange, err)
	}
	if h.Version != version {
		return h, fmt.Errorf("%w: %d, and this worker of %d", errOther, h.Version, version)
	}
	if h.Socket != s.options.Key || len(h.Tag) != TagLength || h.Tag == s.tag {
		return h, errStrange
	}
	return h, nil
}

// checkUser refuses a connection with a process of another user.
func checkUser(c *net.UnixConn) error {
	uid, err := peerUID(c)
	if err != nil {
		return err
	}
	if uid != os.Geteuid() {
		return fmt.Errorf("%w: %d", errUser, uid)
	}
	return nil
}

// keep makes c, which nobody's hello has come on, one of those that Close closes; it is false
// after that.
func (s *Siblings) keep(c *net.UnixConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = c.Close()
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Siblings) reject(c *net.UnixConn) {
	_ = c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// accept takes the connections of siblings.
func (s *Siblings) accept() {
	for {
		c, err := s.listener.AcceptUnix()
		if err != nil {
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			s.log.Warn("siblings cannot connect", "error", err)
			if !s.sleep(time.Second) { // no descriptor left, say
				return
			}
			continue
		}
		if !s.keep(c) {
			continue
		}
		s.tasks.Go(func() {
			if err := s.welcome(c); err != nil {
				s.reject(c)
				if !errors.Is(err, errOther) && !errors.Is(err, errEnded) && s.ctx.Err() == nil {
					s.log.Warn("a connection to this worker's siblings socket is refused", "reason", err)
				}
			}
		})
	}
}

func (s *Siblings) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// welcome makes c, which was accepted, a sibling's.
func (s *Siblings) welcome(c *net.UnixConn) error {
	if err := checkUser(c); err != nil {
		return err
	}
	r := newReader(c, maxHello)
	h, err := s.takeHello(r)
	if err != nil {
		r.close()
		if errors.Is(err, errOther) {
			s.leaveAlone(h, err)
			_ = s.sendHello(c) // so that it knows as well
		}
		return err
	}
	// Whoever gets our hello is known here.
	return s.join(h, c, r, true)
}

// leaveAlone remembers a worker of another version, and says so once.
func (s *Siblings) leaveAlone(h hello, err error) {
	s.mu.Lock()
	known := s.strange[h.Tag]
	s.strange[h.Tag] = true
	s.mu.Unlock()
	if !known {
		s.log.Warn("a worker on this socket is left alone", "worker", h.Tag, "pid", h.PID, "reason", err)
	}
}

// join adds a connection to its peer, which begins with the first.
func (s *Siblings) join(h hello, c *net.UnixConn, r *reader, answer bool) error {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			r.close()
			return errClosing
		}
		p, first := s.peers[h.Tag], false
		if p == nil {
			p, first = newPeer(s, h.Tag, h.PID), true
			s.peers[h.Tag] = p
		}
		if !p.add(c) { // it is just being dropped
			s.mu.Unlock()
			select {
			case <-p.gone:
				continue
			case <-s.ctx.Done():
				r.close()
				return errClosing
			}
		}
		delete(s.conns, c) // it is the peer's
		p.tasks.Add(1)     // before anybody can bury it
		s.mu.Unlock()
		defer p.tasks.Done()
		if first {
			s.tasks.Go(func() { s.bury(p) })
			s.log.Info("a sibling has joined", "sibling", h.Tag, "pid", h.PID)
			s.tell(h.Tag, true)
			close(p.met)
		}
		if answer {
			if err := s.sendHello(c); err != nil {
				p.drop(fmt.Errorf("hello: %w", err))
			}
		}
		p.tasks.Go(func() { p.read(r) })
		if first {
			p.tasks.Go(func() { p.write(c) })
		}
		return nil
	}
}

// dial connects to a sibling after some time, in the background, and again while it is
// there and does not answer. met is called when it is known how that went first.
func (s *Siblings) dial(t Tag, wait time.Duration, met func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.dialing[t] || s.strange[t] {
		if met != nil {
			met()
		}
		return
	}
	s.dialing[t] = true
	s.tasks.Go(func() {
		defer func() {
			s.mu.Lock()
			delete(s.dialing, t)
			delete(s.away, t)
			s.mu.Unlock()
			if met != nil {
				met()
			}
		}()
		for {
			if wait > 0 && !s.sleep(wait) {
				return
			}
			if s.Has(t) {
				return // it was faster
			}
			err := s.connect(t)
			switch {
			case err == nil, s.ctx.Err() != nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, errOther):
				return
			case errors.Is(err, syscall.ECONNREFUSED):
				s.folder.bury(t) // it has died
				return
			case errors.Is(err, errUser), errors.Is(err, errStrange):
				s.log.Warn("a socket in the siblings' folder is left alone", "sibling", t, "reason", err)
				return
			}
			wait = min(max(2*wait, retry), maxRetry)
		}
	})
}

func (s *Siblings) connect(t Tag) error {
	ctx, cancel := context.WithTimeout(s.ctx, helloTimeout)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "unix", s.folder.path(string(t)))
	if err != nil {
		return err
	}
	c := nc.(*net.UnixConn)
	if !s.keep(c) {
		return errClosing
	}
	err = func() error {
		if err := checkUser(c); err != nil {
			return err
		}
		if err := s.sendHello(c); err != nil {
			return err
		}
		r := newReader(c, maxHello)
		h, err := s.takeHello(r)
		if err == nil && h.Tag != t {
			err = errStrange
		}
		if err != nil {
			r.close()
			if errors.Is(err, errOther) {
				s.leaveAlone(h, err)
			}
			return err
		}
		return s.join(h, c, r, false)
	}()
	if err != nil {
		s.reject(c)
	}
	return err
}
