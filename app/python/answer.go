package python

import (
	"errors"
	"fmt"
	"strings"

	"github.com/chaussette/chaussette/app/python/marshal"
)

// readHead reads status and headers, two items of an enclosing list. A head that HTTP
// does not allow comes back as an error, which leaves d in order; d.Err is for bytes that
// cannot be read at all. fields is where the headers are appended.
func readHead(d *marshal.Decoder, a *Answer, fields []Field) ([]Field, error) {
	status, ok := d.Latin1()
	var err error
	if !ok {
		err = errors.New("the status is not a str of latin-1 characters")
	} else if a.Status, a.Reason, ok = parseStatus(status); !ok {
		err = fmt.Errorf("status %q is not of the form \"200 OK\"", status)
	}
	n, mark := d.List()
	first := len(fields)
	length := -1 // of the fields, the Content-Length
	for range n {
		two, mark, ok := d.Items()
		if !ok {
			err = errors.New("a header is not a pair")
			continue
		}
		if two != 2 {
			for range two {
				d.Skip()
			}
			d.Close(mark)
			err = errors.New("a header is not a pair")
			continue
		}
		name, nameOK := d.Latin1()
		value, valueOK := d.Latin1()
		d.Close(mark)
		switch {
		case !nameOK || !valueOK:
			err = errors.New("a header is not of two str with latin-1 characters")
		case !validName(name):
			err = fmt.Errorf("header name %q holds characters that HTTP does not allow", name)
		case !validValue(value):
			err = fmt.Errorf("header %s holds control characters: %q", name, value)
		}
		if len(name) == len("Content-Length") && strings.EqualFold(name, "Content-Length") {
			if length >= 0 && fields[length].Value != value {
				err = fmt.Errorf("the Content-Length is %q and %q", fields[length].Value, value)
			}
			length = len(fields)
		}
		fields = append(fields, Field{name, value})
	}
	d.Close(mark)
	a.Header = fields[first:len(fields):len(fields)]
	return fields, err
}

// parseStatus splits "200 OK". A final status is meant: 1xx is the server's.
func parseStatus(s string) (code int, reason string, ok bool) {
	if len(s) < 3 {
		return 0, "", false
	}
	for i := range 3 {
		if s[i] < '0' || s[i] > '9' {
			return 0, "", false
		}
		code = code*10 + int(s[i]-'0')
	}
	if len(s) > 3 {
		if s[3] != ' ' {
			return 0, "", false
		}
		reason = s[4:]
	}
	return code, reason, code >= 200 && validValue(reason)
}

// validName reports whether s is a token (RFC 9110, 5.6.2).
func validName(s string) bool {
	for i := 0; i < len(s); i++ {
		if !tokenTable[s[i]] {
			return false
		}
	}
	return len(s) > 0
}

var tokenTable = func() (t [256]bool) {
	for c := range t {
		t[c] = '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

// validValue reports whether s holds no control character (RFC 9110, 5.5).
func validValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// badAnswer is what the client gets for a head that HTTP does not allow.
func badAnswer() *Answer {
	return &Answer{
		Status: 500, Reason: "Internal Server Error",
		Header: []Field{{"Content-Type", "text/plain; charset=utf-8"}},
		Body:   "Internal Server Error\n",
	}
}
