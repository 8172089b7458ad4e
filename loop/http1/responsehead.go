package http1

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// ResponseHead is the head of a response while it is put together. The zero value is ready
// for Reset; it may be used again for another response.
type ResponseHead struct {
	status    int
	fields    []byte // as they go over the wire
	line      string
	length    int64 // that was declared, or -1
	date      bool
	close     bool
	upgrade   bool // there is an Upgrade field
	badLength string
}

// Reset begins a response. Without a reason it is that of the status.
func (h *ResponseHead) Reset(status int, reason string) {
	*h = ResponseHead{status: status, fields: h.fields[:0], line: statusLine(status), length: -1}
	if reason != "" && reason != http.StatusText(status) {
		h.line = "HTTP/1.1 " + strconv.Itoa(status) + " " + reason + "\r\n"
	}
}

// Add adds a field. What the connection is for is the server's: of Connection only close is
// taken, Content-Length is minded, and others from hop to hop are dropped (RFC 9110, 7.6.1).
// A line break in a value becomes a space, since it could split the response; a name that
// is none drops the field.
func (h *ResponseHead) Add(name, value string) {
	switch len(name) {
	case len("Te"), len("Date"):
		if strings.EqualFold(name, "Date") {
			h.date = true
		} else if strings.EqualFold(name, "Te") {
			return
		}
	case len("Trailer"): // and Upgrade
		if strings.EqualFold(name, "Trailer") {
			return
		}
		if strings.EqualFold(name, "Upgrade") {
			if h.status != http.StatusUpgradeRequired && h.status != http.StatusSwitchingProtocols {
				return
			}
			h.upgrade = true
		}
	case len("Connection"): // and Keep-Alive
		if strings.EqualFold(name, "Connection") {
			h.close = h.close || connectionTokens([]byte(value))&connectionClose != 0
			return
		}
		if strings.EqualFold(name, "Keep-Alive") {
			return
		}
	case len("Content-Length"):
		if strings.EqualFold(name, "Content-Length") {
			n, ok := parseLength([]byte(value))
			if !ok {
				h.badLength = value
				return
			}
			h.length = n
			return
		}
	case len("Proxy-Connection"):
		if strings.EqualFold(name, "Proxy-Connection") {
			return
		}
	case len("Transfer-Encoding"):
		if strings.EqualFold(name, "Transfer-Encoding") {
			return
		}
	}
	h.add(name, value)
}

// add adds a field as it is.
func (h *ResponseHead) add(name, value string) {
	for i := range len(name) {
		if !isToken[name[i]] {
			return
		}
	}
	if name == "" {
		return
	}
	h.fields = append(h.fields, name...)
	h.fields = append(h.fields, ": "...)
	from := len(h.fields)
	h.fields = append(h.fields, value...)
	for i, c := range h.fields[from:] {
		if c == '\r' || c == '\n' || c == 0 {
			h.fields[from+i] = ' '
		}
	}
	h.fields = append(h.fields, "\r\n"...)
}

// Declared is the Content-Length that was added, -1 for none. What was added and is no
// length is bad.
func (h *ResponseHead) Declared() (length int64, bad string) { return h.length, h.badLength }

// appendTo appends the head with what else belongs to it: how the body ends, or that it
// has none, and whether the connection goes on.
func (h *ResponseHead) appendTo(b []byte, frame framing, length int64, keep bool, minor int) []byte {
	b = append(b, h.line...)
	b = append(b, h.fields...)
	if !h.date {
		b = appendDate(b)
	}
	switch frame {
	case framedByLength:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, length, 10)
		b = append(b, "\r\n"...)
	case framedByChunks:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	switch {
	case h.upgrade: // which has to be named there (RFC 9110, 7.8)
		b = append(b, "Connection: Upgrade"...)
		if !keep && h.status != http.StatusSwitchingProtocols {
			b = append(b, ", close"...)
		}
		b = append(b, "\r\n"...)
	case !keep:
		b = append(b, "Connection: close\r\n"...)
	case minor == 0:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	return append(b, "\r\n"...)
}

// framing is how the end of a body is known (RFC 9112, 6.3).
type framing uint8

const (
	framedByNothing framing = iota // no body, or up to the end of the connection
	framedByLength
	framedByChunks
)

var statusLines = func() (lines [600]string) {
	for status := 100; status < len(lines); status++ {
		lines[status] = makeStatusLine(status)
	}
	return lines
}()

func makeStatusLine(status int) string {
	text := http.StatusText(status)
	if text == "" {
		text = "status code " + strconv.Itoa(status) // as net/http has it
	}
	return "HTTP/1.1 " + strconv.Itoa(status) + " " + text + "\r\n"
}

func statusLine(status int) string {
	if status >= 100 && status < len(statusLines) {
		return statusLines[status]
	}
	return makeStatusLine(status)
}

// dated is a Date field, right for one second.
type dated struct {
	second int64
	text   string
}

var dateNow atomic.Pointer[dated]

// appendDate appends the Date field, which is written once a second.
func appendDate(b []byte) []byte {
	now := time.Now()
	d := dateNow.Load()
	if d == nil || d.second != now.Unix() {
		d = &dated{now.Unix(), "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
		dateNow.Store(d)
	}
	return append(b, d.text...)
}

// Status is the response's.
func (h *ResponseHead) Status() int { return h.status }
