package http1

import (
	"bytes"
	"math"
	"net/http"
)

// Head is the head of a request (RFC 9112, 2.1): its line and its fields, as places in the
// bytes that were parsed, and what they say of the connection and the body.
type Head struct {
	// Minor is the version: HTTP/1.Minor. What is higher than 1 is understood as 1.
	Minor int
	// Length is of the body: 0 if there is none, Chunked if it comes in chunks.
	Length int64
	// HasLength says that there was a Content-Length, which may be 0.
	HasLength bool
	// KeepAlive says that the client wants to go on with the connection.
	KeepAlive bool
	// Continue says that the client waits for 100 Continue before it sends the body.
	Continue bool
	// Upgrade says that there is an Upgrade field.
	Upgrade bool

	method, target, host span
	fields               []field
	at                   int // what was parsed so far
	line                 bool
	hosts                int
	te                   bool
	connection           connectionToken
}

// Chunked is the Length of a body that comes in chunks.
const Chunked = -1

// span is a part of the bytes that a head was parsed from.
type span struct{ from, to uint32 }

func (s span) of(b []byte) []byte { return b[s.from:s.to:s.to] }

func (s span) in(text string) string { return text[s.from:s.to] }

type field struct{ name, value span }

type connectionToken uint8

const (
	connectionClose connectionToken = 1 << iota
	connectionKeepAlive
)

// Error is why a request is refused: what Head.Parse returns. They can be compared.
type Error struct {
	Status int
	Reason string
}

func (e *Error) Error() string { return e.Reason }

// The errors of a head and of a body in chunks.
var (
	errLine        = &Error{http.StatusBadRequest, "the request line is not METHOD TARGET HTTP/1.1"}
	errTarget      = &Error{http.StatusBadRequest, "the request's target is malformed"}
	errVersion     = &Error{http.StatusHTTPVersionNotSupported, "HTTP/1.0 and HTTP/1.1 are served here"}
	errLineEnd     = &Error{http.StatusBadRequest, "a line ends without CRLF, or has a bare CR"}
	errFieldName   = &Error{http.StatusBadRequest, "a field's name is malformed"}
	errFieldValue  = &Error{http.StatusBadRequest, "a field's value has a control character"}
	errFold        = &Error{http.StatusBadRequest, "a field goes on in another line"}
	errHost        = &Error{http.StatusBadRequest, "HTTP/1.1 wants exactly one valid Host"}
	errLength      = &Error{http.StatusBadRequest, "the Content-Length is not one number"}
	errTwoLengths  = &Error{http.StatusBadRequest, "both Content-Length and Transfer-Encoding"}
	errTwoEncoding = &Error{http.StatusBadRequest, "the Transfer-Encoding is malformed, or HTTP/1.0 knows none"}
	errEncoding    = &Error{http.StatusNotImplemented, "the only Transfer-Encoding is chunked"}
	errFields      = &Error{http.StatusRequestHeaderFieldsTooLarge, "the request's head is too large"}
	errExpect      = &Error{http.StatusExpectationFailed, "the only expectation is 100-continue"}
	errChunk       = &Error{http.StatusBadRequest, "a chunk is malformed"}
)

// reset makes h ready for another request; its memory stays.
func (h *Head) reset() { *h = Head{fields: h.fields[:0]} }

// parse goes on with the head at the beginning of b, of which more may have come since the
// last call. It returns its length, or 0 where the end has not come.
//
// It is strict (RFC 9112): lines end with CRLF, fields do not fold, names have no space
// behind them, there is one Host, and no two opinions about where the body ends.
func (h *Head) parse(b []byte) (int, error) {
	for {
		rest := b[h.at:]
		n := bytes.IndexByte(rest, '\n')
		if n < 0 {
			// A CR has to be followed by LF, which may just not have come.
			if i := bytes.IndexByte(rest, '\r'); i >= 0 && i < len(rest)-1 {
				return 0, errLineEnd
			}
			return 0, nil
		}
		if n == 0 || rest[n-1] != '\r' {
			return 0, errLineEnd
		}
		line, from := rest[:n-1], uint32(h.at)
		h.at += n + 1
		switch {
		case !h.line && len(line) == 0 && from == 0:
			// One that a client has sent too much after the last request (RFC 9112, 2.2).
		case !h.line:
			if err := h.requestLine(line, from); err != nil {
				return 0, err
			}
			h.line = true
		case len(line) == 0:
			if err := h.finish(b); err != nil {
				return 0, err
			}
			return h.at, nil
		default:
			if err := h.field(line, from); err != nil {
				return 0, err
			}
		}
	}
}

// requestLine parses it (RFC 9112, 3).
func (h *Head) requestLine(line []byte, from uint32) error {
	n := 0
	for n < len(line) && isToken[line[n]] {
		n++
	}
	if n == 0 || n == len(line) || line[n] != ' ' {
		return errLine
	}
	h.method = span{from, from + uint32(n)}
	target := line[n+1:]
	n = 0
	for n < len(target) && target[n] > ' ' && target[n] != 0x7f {
		n++
	}
	if n == 0 || n == len(target) || target[n] != ' ' {
		return errLine
	}
	begin := h.method.to + 1
	h.target = span{begin, begin + uint32(n)}
	version := target[n+1:]
	if len(version) != len("HTTP/1.1") || string(version[:5]) != "HTTP/" || version[6] != '.' ||
		version[5] < '0' || version[5] > '9' || version[7] < '0' || version[7] > '9' {
		return errLine
	}
	if version[5] != '1' {
		return errVersion
	}
	if h.Minor = 1; version[7] == '0' {
		h.Minor = 0
	}
	return nil
}

// field parses one (RFC 9112, 5), and minds those that the connection is for.
func (h *Head) field(line []byte, from uint32) error {
	n := 0
	for n < len(line) && isToken[line[n]] {
		n++
	}
	if n == 0 || n == len(line) || line[n] != ':' {
		if line[0] == ' ' || line[0] == '\t' {
			return errFold
		}
		return errFieldName
	}
	begin, end := n+1, len(line)
	for begin < end && (line[begin] == ' ' || line[begin] == '\t') {
		begin++
	}
	for end > begin && (line[end-1] == ' ' || line[end-1] == '\t') {
		end--
	}
	value := line[begin:end]
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			if c == '\r' {
				return errLineEnd
			}
			return errFieldValue
		}
	}
	f := field{span{from, from + uint32(n)}, span{from + uint32(begin), from + uint32(end)}}
	h.fields = append(h.fields, f)
	return h.understand(line[:n], value, f.value)
}

// understand takes what a field says of the connection or the body.
func (h *Head) understand(name, value []byte, at span) error {
	switch len(name) {
	case len("Host"):
		if equalFold(name, "host") {
			h.hosts++
			h.host = at
		}
	case len("Expect"):
		if equalFold(name, "expect") && len(value) > 0 {
			if !expectsContinue(value) {
				return errExpect
			}
			h.Continue = h.Minor > 0 // HTTP/1.0 knows no interim responses
		}
	case len("Upgrade"):
		if equalFold(name, "upgrade") {
			h.Upgrade = true
		}
	case len("Connection"):
		if equalFold(name, "connection") {
			h.connection |= connectionTokens(value)
		}
	case len("Content-Length"):
		if equalFold(name, "content-length") {
			n, ok := parseLength(value)
			if !ok || h.HasLength {
				return errLength
			}
			h.Length, h.HasLength = n, true
		}
	case len("Transfer-Encoding"):
		if equalFold(name, "transfer-encoding") {
			if h.te || h.Minor == 0 {
				return errTwoEncoding
			}
			if !equalFold(value, "chunked") {
				return errEncoding
			}
			h.te = true
		}
	}
	return nil
}

// connectionTokens reads a Connection field.
func connectionTokens(value []byte) (t connectionToken) {
	for len(value) > 0 {
		var token []byte
		token, value = nextToken(value)
		switch {
		case equalFold(token, "close"):
			t |= connectionClose
		case equalFold(token, "keep-alive"):
			t |= connectionKeepAlive
		}
	}
	return t
}

// expectsContinue reads an Expect field (RFC 9110, 10.1.1).
func expectsContinue(value []byte) bool {
	for len(value) > 0 {
		var token []byte
		if token, value = nextToken(value); equalFold(token, "100-continue") {
			return true
		}
	}
	return false
}

// nextToken takes the first member of a list (RFC 9110, 5.6.1).
func nextToken(list []byte) (token, rest []byte) {
	token, rest, _ = bytes.Cut(list, []byte(","))
	return bytes.Trim(token, " \t"), rest
}

// parseLength reads a Content-Length: digits, and nothing else (RFC 9110, 8.6).
func parseLength(value []byte) (n int64, ok bool) {
	if len(value) == 0 {
		return 0, false
	}
	for _, c := range value {
		if c < '0' || c > '9' || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// finish checks what can only be said at the end.
func (h *Head) finish(b []byte) error {
	if h.te {
		if h.HasLength {
			return errTwoLengths
		}
		h.Length = Chunked
	}
	if h.hosts > 1 || h.hosts == 0 && h.Minor > 0 || !validHost(h.host.of(b)) {
		return errHost
	}
	h.KeepAlive = h.connection&connectionClose == 0 && (h.Minor > 0 || h.connection&connectionKeepAlive != 0)
	target := h.target.of(b)
	switch {
	case target[0] == '/':
	case target[0] == '*' && len(target) == 1:
		if string(h.method.of(b)) != http.MethodOptions {
			return errTarget
		}
	}
	return nil
}

// validHost accepts what a URI's authority may hold, and an empty one (RFC 9112, 3.2).
func validHost(host []byte) bool {
	for _, c := range host {
		if !isHost[c] {
			return false
		}
	}
	return true
}

var isToken, isHost = func() (token, host [256]bool) {
	for c := range token {
		alnum := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		token[c], host[c] = alnum, alnum
	}
	for _, c := range "!#$%&'*+-.^_`|~" { // RFC 9110, 5.6.2
		token[c] = true
	}
	for _, c := range "!$%&'()*+,-.:;=@[]_~" { // RFC 3986, 3.2
		host[c] = true
	}
	return token, host
}()

// equalFold compares b with ASCII text in lower case.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := range b {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
