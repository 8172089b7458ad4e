package socketio

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"sync"

	"github.com/chaussette/chaussette/socketio/engineio"
	"github.com/chaussette/chaussette/socketio/parser"
)

// client is one session, with its sockets: one in each namespace that it is in.
type client struct {
	server  *Server
	session *engineio.Session
	parser  parser.Parser // nil until the first message, if that tells
	decoder parser.Decoder

	mu    sync.Mutex // guards what follows
	first *Socket    // most clients have one
	rest  *rest      // or nil
}

// rest is what few clients have.
type rest struct {
	more []*Socket
	left []string // namespaces out of which the server has thrown it
}

func (c *client) restLocked() *rest {
	if c.rest == nil {
		c.rest = new(rest)
	}
	return c.rest
}

// moreLocked are the sockets besides the first.
func (c *client) moreLocked() []*Socket {
	if c.rest == nil {
		return nil
	}
	return c.rest.more
}

var (
	errTwice   = errors.New("CONNECT to a namespace that it is in")
	errNoSuch  = errors.New("a packet for a namespace that it is not in")
	errClients = errors.New("a packet that only servers send")
)

// engine is a Server as engineio calls it.
type engine Server

// Open implements engineio.Handler.
func (e *engine) Open(s *engineio.Session) {
	srv := (*Server)(e)
	c := &client{server: srv, session: s}
	s.SetApp(c)
	switch s.Revision() {
	case engineio.Revision4:
		if srv.options.Parser != nil {
			c.speak(srv.options.Parser)
		}
		c.awaitConnect()
		return
	case engineio.Revision3:
		c.speak(parser.V4)
	default:
		c.speak(parser.V09)
	}
	// Before protocol 5 a client is in "/" without asking.
	c.connect("/", "", nil)
}

func (c *client) speak(p parser.Parser) {
	c.parser, c.decoder = p, p.NewDecoder(&c.server.options.Limits)
}

func (c *client) awaitConnect() {
	if d := c.server.options.ConnectTimeout; d > 0 {
		c.session.SetDeadline(d)
	}
}

// Deadline implements engineio.Deadliner.
func (e *engine) Deadline(s *engineio.Session) {
	c := s.App().(*client)
	c.mu.Lock()
	nowhere := c.first == nil
	c.mu.Unlock()
	if nowhere {
		s.Close()
	}
}

// Message implements engineio.Handler.
func (e *engine) Message(s *engineio.Session, m engineio.Message) {
	c := s.App().(*client)
	if c.parser == nil {
		c.speak(parser.V5)
		if m.Binary {
			c.speak(parser.Msgpack)
		}
	}
	var p parser.Packet
	data := append(make([]byte, 0, len(m.Data)), m.Data...)
	done, err := c.decoder.Decode(parser.Message{Data: data, Binary: m.Binary}, &p)
	if err == nil && done {
		err = c.dispatch(&p)
	}
	if err != nil {
		c.server.options.Logger.Info("socket.io client closed", "reason", err, "remote", s.RemoteAddr())
		s.Fail(err)
	}
}

// Close implements engineio.Handler.
func (e *engine) Close(s *engineio.Session, reason engineio.Reason) {
	c, ok := s.App().(*client)
	if !ok {
		return // it ended before Open
	}
	for _, socket := range c.sockets() {
		socket.close(reason)
	}
}

func (c *client) sockets() []*Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == nil {
		return nil
	}
	return append([]*Socket{c.first}, c.moreLocked()...)
}

func (c *client) socket(namespace string) *Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first != nil && c.first.ns.name == namespace {
		return c.first
	}
	for _, s := range c.moreLocked() {
		if s.ns.name == namespace {
			return s
		}
	}
	return nil
}

func (c *client) add(s *Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == nil {
		c.first = s
	} else {
		r := c.restLocked()
		r.more = append(r.more, s)
	}
}

// remove forgets s. thrown says that the client does not know yet, and may still send.
func (c *client) remove(s *Socket, thrown bool) {
	c.mu.Lock()
	more := c.moreLocked()
	if c.first == s {
		c.first = nil
		if n := len(more); n > 0 {
			c.first, c.rest.more = more[n-1], more[:n-1]
		}
	} else if i := slices.Index(more, s); i >= 0 {
		c.rest.more = slices.Delete(more, i, i+1)
	}
	if thrown {
		if r := c.restLocked(); len(r.left) < 16 {
			r.left = append(r.left, s.ns.name)
		}
	}
	nowhere := c.first == nil
	c.mu.Unlock()
	if nowhere && !c.session.Done() {
		c.awaitConnect()
	}
}

// threwOut tells whether the client may not know yet that it is not in the namespace.
func (c *client) threwOut(namespace string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rest != nil && slices.Contains(c.rest.left, namespace)
}

// dispatch handles one packet. An error closes the session.
func (c *client) dispatch(p *parser.Packet) error {
	s := c.socket(p.Namespace)
	if p.Type == parser.Connect {
		if s == nil {
			c.connect(p.Namespace, p.Query, p.Data)
			return nil
		}
		if c.session.Revision() != engineio.Revision4 {
			return nil // these are in "/" already, and some ask nevertheless
		}
		return errTwice
	}
	if s == nil {
		if c.threwOut(p.Namespace) || c.session.Done() {
			return nil
		}
		return errNoSuch
	}
	switch p.Type {
	case parser.Event:
		return s.receive(p)
	case parser.Ack:
		s.acknowledged(p.ID, Raw{JSON: p.Data, Attachments: p.Attachments})
	case parser.Disconnect:
		s.close(ClientDisconnect)
	default:
		return errClients
	}
	return nil
}

// connect lets the client into a namespace, if there is one and its middleware agrees.
func (c *client) connect(name, query string, auth []byte) {
	n := c.server.namespace(name)
	if n == nil {
		c.send(&parser.Packet{Type: parser.ConnectError, Namespace: name, Data: connectError(&Error{Message: "Invalid namespace"})})
		return
	}
	s := newSocket(n, c, authOf(query, auth))
	c.add(s)
	c.session.SetDeadline(0)
	s.begin()
}

// authOf is what a client says of itself: the payload of its CONNECT, or the query that
// older clients append to the namespace.
func authOf(query string, auth []byte) string {
	if len(auth) > 0 {
		return string(auth)
	}
	values, err := url.ParseQuery(query)
	if err != nil || len(values) == 0 {
		return ""
	}
	flat := map[string]string{}
	for key := range values {
		flat[key] = values.Get(key)
	}
	data, _ := json.Marshal(flat)
	return string(data)
}

// send encodes p for this client and sends it.
func (c *client) send(p *parser.Packet) error { return c.sendAs(p, false) }

// sendAs is send for what may not be compressed.
func (c *client) sendAs(p *parser.Packet, uncompressed bool) error {
	spoken := c.parser
	if spoken == nil {
		spoken = parser.V5
	}
	wire, err := spoken.Encode(p)
	if err != nil {
		return err
	}
	if len(wire) == 1 {
		return c.session.Send(message(wire[0], uncompressed))
	}
	return c.session.Send(messages(wire, uncompressed)...)
}

func message(m parser.Message, uncompressed bool) engineio.Message {
	return engineio.Message{Data: m.Data, Binary: m.Binary, Uncompressed: uncompressed}
}

func messages(wire []parser.Message, uncompressed bool) []engineio.Message {
	list := make([]engineio.Message, len(wire))
	for i, m := range wire {
		list[i] = message(m, uncompressed)
	}
	return list
}
