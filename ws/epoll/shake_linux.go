package epoll

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/ws"
)

// shake is a connection's first request, until it is answered.
type shake struct {
	front *Front
	head  []byte // what has come of it
}

var (
	get      = []byte("GET ")
	emptyRow = []byte("\r\n\r\n")
)

// shakeHands takes what has come of the first request.
func (c *conn) shakeHands(b []byte) bool {
	s := c.shake
	f := s.front
	if len(s.head) > 0 {
		s.head = append(s.head, b...)
		b = s.head
	}
	end := bytes.Index(b, emptyRow)
	switch {
	case !bytes.HasPrefix(b, get[:min(len(b), len(get))]),
		end < 0 && len(b) > f.options.HeaderSize,
		end >= 0 && !asksForWebSocket(b[:end+2]):
		c.giveAway(b)
		return true
	case end < 0:
		if s.head == nil {
			s.head = bytes.Clone(b)
		}
		return true
	}
	head, rest := b[:end+len(emptyRow)], b[end+len(emptyRow):]
	r, err := readRequest(head)
	if err != nil {
		c.giveAway(b) // net/http says what is wrong
		return true
	}
	c.io.Lock()
	r.RemoteAddr = remoteAddr(c.io.FDLocked())
	inline := f.options.Inline != nil && f.options.Inline(r)
	if !inline {
		c.io.ClaimLocked()
	}
	c.shake = nil
	c.io.Unlock()
	f.pending.Add(-1)
	c.io.SetDeadline(0)
	w := &answer{c: c, front: f, request: r.WithContext(f.options.Context)}
	if inline {
		w.rest = rest
		w.serve()
		return true
	}
	w.rest = bytes.Clone(rest)
	go w.serve()
	return true
}

// asksForWebSocket looks for the Upgrade header, and for none of a body.
func asksForWebSocket(head []byte) bool {
	asks := false
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch len(name) {
		case len("upgrade"):
			if bytes.EqualFold(name, []byte("upgrade")) {
				asks = bytes.Contains(bytes.ToLower(value), []byte("websocket"))
			}
		case len("content-length"):
			if bytes.EqualFold(name, []byte("content-length")) {
				return false
			}
		case len("transfer-encoding"):
			if bytes.EqualFold(name, []byte("transfer-encoding")) {
				return false
			}
		}
	}
	return asks
}

var requestReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4096) }}

func readRequest(head []byte) (*http.Request, error) {
	in := requestReaders.Get().(*bufio.Reader)
	from := bytes.NewReader(head)
	in.Reset(from)
	r, err := http.ReadRequest(in)
	if err == nil && in.Buffered()+from.Len() > 0 {
		err = errors.New("the head ends before its end, with a bare LF")
	}
	in.Reset(nil)
	requestReaders.Put(in)
	if err == nil && (r.Host == "" || strings.ContainsAny(r.Host, " /")) {
		err = fmt.Errorf("host %q", r.Host)
	}
	return r, err
}

// remoteAddr is the peer's address as net/http has it.
func remoteAddr(fd int) string {
	var a unix.RawSockaddrInet6 // large enough for one of IPv4, and for the family of others
	size := uint32(unsafe.Sizeof(a))
	if _, _, errno := unix.RawSyscall(unix.SYS_GETPEERNAME, uintptr(fd), uintptr(unsafe.Pointer(&a)), uintptr(unsafe.Pointer(&size))); errno != 0 {
		return ""
	}
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&a.Port))[:])
	switch a.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&a))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port).String()
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), port).String()
	}
	return "@"
}

// giveAway leaves the connection to the HTTP server.
func (c *conn) giveAway(read []byte) {
	c.io.Lock()
	fd := c.io.DetachLocked()
	c.io.Unlock()
	if fd >= 0 {
		go c.shake.front.give(fd, bytes.Clone(read))
	}
}

// lateHands is called when the first request has not come in time, or its answer has not
// gone.
func (c *conn) lateHands() {
	c.io.Lock()
	defer c.io.Unlock()
	s := c.shake
	if s == nil {
		c.io.CutLocked(nil)
		return
	}
	f := s.front
	if c.io.BusyLocked() { // it comes just now
		c.io.SetDeadline(f.options.HeaderTimeout)
		return
	}
	if len(s.head) > 0 { // to one who has said nothing nothing is said
		_ = c.io.WriteLocked([]byte("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), nil, false)
		f.options.Log.Info("a request's headers did not arrive in time",
			"remote", remoteAddr(c.io.FDLocked()), "header-timeout", f.options.HeaderTimeout)
	}
	c.io.FinishLocked()
}

// answer is the ResponseWriter of a handshake on a loop.
type answer struct {
	c       *conn
	front   *Front
	request *http.Request
	rest    []byte // came after the request

	header http.Header
	status int
	body   bytes.Buffer
	taken  bool // attached, or hijacked
}

func (a *answer) serve() {
	a.front.handler.ServeHTTP(a, a.request)
	if a.taken {
		return
	}
	// A refusal ends the connection, which then needs nobody to read it.
	var b bytes.Buffer
	status := max(a.status, 1)
	if a.status == 0 {
		status = http.StatusOK
	}
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	h := a.Header()
	h.Set("Content-Length", strconv.Itoa(a.body.Len()))
	if status == http.StatusUpgradeRequired {
		h.Set("Connection", "close, Upgrade")
	} else {
		h.Set("Connection", "close")
	}
	if h.Get("Content-Type") == "" && a.body.Len() > 0 {
		h.Set("Content-Type", http.DetectContentType(a.body.Bytes()))
	}
	h.Write(&b)
	b.WriteString("\r\n")
	c := a.c
	c.io.Lock()
	defer c.io.Unlock()
	_ = c.io.WriteLocked(b.Bytes(), a.body.Bytes(), false)
	c.io.SetDeadline(a.front.options.HeaderTimeout)
	c.io.FinishLocked()
	c.io.StartLocked()
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header {
	if a.header == nil {
		a.header = http.Header{}
	}
	return a.header
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	if a.taken {
		return 0, http.ErrHijacked
	}
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// AttachWebSocket is how ws.Accept takes the connection.
func (a *answer) AttachWebSocket(h *ws.Handshake) (*ws.Conn, error) {
	if a.taken {
		return nil, http.ErrHijacked
	}
	a.taken = true
	a.c.attach(h, a.rest)
	return &a.c.link.Conn, nil
}

// Hijack gives the connection to an app that wants to speak for itself.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if a.taken {
		return nil, nil, http.ErrHijacked
	}
	a.taken = true
	a.c.io.Lock()
	fd := a.c.io.DetachLocked()
	a.c.io.Unlock()
	if fd < 0 {
		return nil, nil, net.ErrClosed
	}
	nc, err := netConn(fd)
	if err != nil {
		return nil, nil, err
	}
	if len(a.rest) > 0 {
		nc = &begun{Conn: nc, read: bytes.Clone(a.rest)}
	}
	return nc, bufio.NewReadWriter(bufio.NewReader(nc), bufio.NewWriter(nc)), nil
}
