package parser

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// A scanner goes once over JSON that came from a peer: is it valid, how deep does it
// nest, where are placeholders? encoding/json would answer the first question only.
type scanner struct {
	data     []byte
	pos      int
	maxDepth int
	// found is called for each placeholder, if not nil.
	found func(begin, end int, num int) error
}

// scan checks that data is one JSON value (RFC 8259, UTF-8), with every placeholder in
// [0, attachments). A packet without attachments may contain what looks like one.
func scan(data []byte, maxDepth, attachments int) error {
	s := scanner{data: data, maxDepth: maxDepth}
	if attachments > 0 {
		s.found = func(_, _ int, num int) error {
			if num < 0 || num >= attachments {
				return syntax(ErrPlaceholder, "%d of %d", num, attachments)
			}
			return nil
		}
	}
	return s.all()
}

// placeholders calls f for each placeholder in data, which has been scanned. num is -1
// where it is not a whole number in range.
func placeholders(data []byte, f func(begin, end, num int) error) error {
	s := scanner{data: data, maxDepth: 1 << 30, found: f}
	return s.all()
}

func (s *scanner) all() error {
	s.space()
	if err := s.value(0); err != nil {
		return err
	}
	s.space()
	if s.pos != len(s.data) {
		return s.bad()
	}
	return nil
}

func (s *scanner) bad() error {
	if s.pos >= len(s.data) {
		return syntax(ErrJSON, "it ends too early")
	}
	return syntax(ErrJSON, "byte %d", s.pos)
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) value(depth int) error {
	switch c := s.peek(); {
	case c == '"':
		return s.text()
	case c == '{':
		return s.object(depth + 1)
	case c == '[':
		return s.array(depth + 1)
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	return s.bad()
}

func (s *scanner) literal(word string) error {
	if len(s.data)-s.pos < len(word) || string(s.data[s.pos:s.pos+len(word)]) != word {
		return s.bad()
	}
	s.pos += len(word)
	return nil
}

func (s *scanner) array(depth int) error {
	if depth > s.maxDepth {
		return syntax(ErrDepth, "more than %d levels", s.maxDepth)
	}
	s.pos++
	s.space()
	if s.peek() == ']' {
		s.pos++
		return nil
	}
	for {
		s.space()
		if err := s.value(depth); err != nil {
			return err
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			return nil
		default:
			return s.bad()
		}
	}
}

func (s *scanner) object(depth int) error {
	if depth > s.maxDepth {
		return syntax(ErrDepth, "more than %d levels", s.maxDepth)
	}
	begin := s.pos
	marked, num := false, -1
	s.pos++
	s.space()
	if s.peek() == '}' {
		s.pos++
		return nil
	}
	for {
		s.space()
		key := s.pos
		if s.peek() != '"' {
			return s.bad()
		}
		if err := s.text(); err != nil {
			return err
		}
		name := s.data[key:s.pos]
		s.space()
		if s.peek() != ':' {
			return s.bad()
		}
		s.pos++
		s.space()
		from := s.pos
		if err := s.value(depth); err != nil {
			return err
		}
		if s.found != nil {
			switch string(name) {
			case `"_placeholder"`:
				marked = string(s.data[from:s.pos]) == "true"
			case `"num"`:
				num = -1
				if n, err := strconv.Atoi(string(s.data[from:s.pos])); err == nil {
					num = n
				}
			}
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
			continue
		case '}':
			s.pos++
		default:
			return s.bad()
		}
		if marked {
			return s.found(begin, s.pos, num)
		}
		return nil
	}
}

// text scans a string. What is not UTF-8 is refused: some of our clients would be cut off
// for receiving it.
func (s *scanner) text() error {
	data, i := s.data, s.pos+1
	for i < len(data) {
		c := data[i]
		switch {
		case c == '"':
			s.pos = i + 1
			return nil
		case c == '\\':
			i++
			if i >= len(data) {
				break
			}
			switch data[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i++
			case 'u':
				for range 4 {
					i++
					if i >= len(data) || !isHex(data[i]) {
						s.pos = i
						return s.bad()
					}
				}
				i++
			default:
				s.pos = i
				return s.bad()
			}
		case c < ' ':
			s.pos = i
			return s.bad()
		case c < utf8.RuneSelf:
			i++
		default:
			r, size := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && size == 1 {
				s.pos = i
				return syntax(ErrJSON, "byte %d is not UTF-8", i)
			}
			i += size
		}
	}
	s.pos = len(data)
	return s.bad()
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func (s *scanner) number() error {
	if s.peek() == '-' {
		s.pos++
	}
	switch c := s.peek(); {
	case c == '0':
		s.pos++
	case c >= '1' && c <= '9':
		s.digits()
	default:
		return s.bad()
	}
	if s.peek() == '.' {
		s.pos++
		if !s.digits() {
			return s.bad()
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return s.bad()
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	begin := s.pos
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.pos++
	}
	return s.pos > begin
}

// Elements returns the elements of a JSON array, which must be valid: a decoder has
// checked it. They alias data.
func Elements(data []byte) []json.RawMessage {
	var elements []json.RawMessage
	each(data, func(e []byte) bool {
		elements = append(elements, e)
		return true
	})
	return elements
}

func firstElement(data []byte) (first json.RawMessage, ok bool) {
	each(data, func(e []byte) bool {
		first, ok = e, true
		return false
	})
	return first, ok
}

// each calls f for the elements of a valid JSON array until it returns false.
func each(data []byte, f func(e []byte) bool) {
	depth, begin := 0, -1
	for i := 0; i < len(data); i++ {
		switch c := data[i]; c {
		case ' ', '\t', '\n', '\r':
			continue
		case '"':
			if depth == 1 && begin < 0 {
				begin = i
			}
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			depth++
			if depth == 2 && begin < 0 {
				begin = i
			}
		case ']', '}':
			depth--
			if depth == 0 {
				if begin >= 0 {
					f(trimSpace(data[begin:i]))
				}
				return
			}
		case ',':
			if depth == 1 && begin >= 0 {
				if !f(trimSpace(data[begin:i])) {
					return
				}
				begin = -1
			}
		default:
			if depth == 1 && begin < 0 {
				begin = i
			}
		}
	}
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t' || b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b[:len(b):len(b)]
}
