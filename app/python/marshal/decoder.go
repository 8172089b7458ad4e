package marshal

import (
	"errors"
	"strings"
)

// ErrSyntax is what Decoder.Err returns for bytes that are not in the format, that end
// too early, or that hold a type this package leaves out.
var ErrSyntax = errors.New("marshal: not the expected bytes")

// maxDepth bounds references to references: what a trusted peer writes needs five.
const maxDepth = 32

// Decoder reads values one after another, without building a tree: the caller asks for
// what it expects and gets parts of the input. The first error stays, and every later
// call returns a zero value; check Err once at the end.
//
// Names shared by several answers arrive as references to an earlier value. Decoder
// notes where each value that may be referred to begins, so all values of the input
// must be read, or skipped, in order.
type Decoder struct {
	in  string
	pos int
	// refs[i] is where the value with reference i begins.
	refs []int32
	// depth counts the containers around us from the one that a reference led to.
	// Inside, nothing is noted: it was the first time.
	depth  int
	nested int // of skip
	failed bool
}

// Reset makes d read s.
func (d *Decoder) Reset(s string) {
	*d = Decoder{in: s, refs: d.refs[:0]}
}

// Err returns ErrSyntax after anything went wrong.
func (d *Decoder) Err() error {
	if d.failed {
		return ErrSyntax
	}
	return nil
}

// More reports whether input remains.
func (d *Decoder) More() bool { return !d.failed && d.pos < len(d.in) }

func (d *Decoder) fail() { d.failed, d.pos, d.depth = true, len(d.in), 0 }

// code reads a type code and follows references: it returns the code of the value
// that is meant, and where to set the position back to afterwards (-1: nowhere).
func (d *Decoder) code() (code byte, back int) {
	back = -1
	for hops := 0; ; hops++ {
		if d.pos >= len(d.in) || hops > maxDepth {
			d.fail()
			return 0, -1
		}
		c := d.in[d.pos]
		if c == codeRef {
			d.pos++
			i := d.uint32()
			if d.failed || int(i) >= len(d.refs) {
				d.fail()
				return 0, -1
			}
			if back < 0 {
				back = d.pos
			}
			d.pos = int(d.refs[i])
			continue
		}
		if c&flagRef != 0 && back < 0 && d.depth == 0 {
			d.refs = append(d.refs, int32(d.pos))
		}
		d.pos++
		return c &^ flagRef, back
	}
}

func (d *Decoder) uint32() uint32 {
	if len(d.in)-d.pos < 4 {
		d.fail()
		return 0
	}
	s := d.in[d.pos : d.pos+4]
	d.pos += 4
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

func (d *Decoder) take(n uint32) string {
	if uint64(n) > uint64(len(d.in)-d.pos) {
		d.fail()
		return ""
	}
	s := d.in[d.pos : d.pos+int(n)]
	d.pos += int(n)
	return s
}

func (d *Decoder) leave(back int) {
	if back >= 0 && !d.failed {
		d.pos = back
	}
}

// List opens a list or a tuple and returns how many items follow. Each item is to be
// read, then Close called with the mark.
func (d *Decoder) List() (n int, m Mark) {
	code, back := d.code()
	return d.open(code, back)
}

// Items is List for what may be of another type: that is skipped, ok is false, and there is
// nothing to close.
func (d *Decoder) Items() (n int, m Mark, ok bool) {
	start := d.pos
	code, back := d.code()
	switch code {
	case codeList, codeTuple, codeSmallTuple:
		n, m = d.open(code, back)
		return n, m, !d.failed
	}
	if !d.failed {
		d.pos = start
		d.skip(back < 0 && d.depth == 0)
	}
	return 0, Mark{-1}, false
}

// open is List for who has read the type.
func (d *Decoder) open(code byte, back int) (n int, m Mark) {
	switch code {
	case codeList, codeTuple:
		n = int(d.uint32())
	case codeSmallTuple:
		if s := d.take(1); s != "" {
			n = int(s[0])
		}
	default:
		d.fail()
	}
	// Every item needs a byte at least.
	if d.failed || n < 0 || n > len(d.in)-d.pos {
		d.fail()
		return 0, Mark{-1}
	}
	d.enter(back)
	return n, Mark{back}
}

// Mark is where to go on after a list that List opened.
type Mark struct{ back int }

// Close ends the list that List opened with m.
func (d *Decoder) Close(m Mark) {
	if d.failed {
		return
	}
	d.exit()
	d.leave(m.back)
}

// Int reads an integer.
func (d *Decoder) Int() int {
	code, back := d.code()
	if code != codeInt {
		d.fail()
		return 0
	}
	n := int(int32(d.uint32()))
	d.leave(back)
	return n
}

// Bytes reads a bytes object, as a part of the input. ok is false for None.
func (d *Decoder) Bytes() (data string, ok bool) {
	code, back := d.code()
	switch code {
	case codeBytes:
		data, ok = d.take(d.uint32()), true
	case codeNone:
	default:
		d.fail()
	}
	d.leave(back)
	return data, ok && !d.failed
}

// Latin1 reads a str of characters up to U+00FF, as one byte each. ok is false, and the
// value skipped, where it is no str or holds characters beyond them.
func (d *Decoder) Latin1() (s string, ok bool) {
	start := d.pos
	code, back := d.code()
	switch code {
	case codeShort, codeShortInt:
		if n := d.take(1); n != "" {
			s = d.take(uint32(n[0]))
		}
		ok = true
	case codeASCII, codeASCIIInt:
		s, ok = d.take(d.uint32()), true
	case codeUnicode, codeInterned:
		s, ok = latin1(d.take(d.uint32()))
	default:
		if !d.failed {
			d.pos = start
			d.skip(back < 0 && d.depth == 0)
		}
		return "", false
	}
	d.leave(back)
	return s, ok && !d.failed
}

// Skip reads one value of any type of the format but code objects.
func (d *Decoder) Skip() { d.skip(false) }

// skip skips a value. noted says that its reference was noted by an earlier look at it.
func (d *Decoder) skip(noted bool) {
	if noted && d.pos < len(d.in) && d.in[d.pos]&flagRef != 0 {
		d.refs = d.refs[:len(d.refs)-1]
	}
	if d.pos < len(d.in) && d.in[d.pos] == codeRef {
		d.take(5) // what it leads to was read before
		return
	}
	if d.nested++; d.nested > maxDepth {
		d.fail()
	}
	code, back := d.code()
	// A dict ends with a null; a set and a frozenset are lists of another code.
	switch code {
	case codeNone, codeTrue, codeFalse, '.', 'S', codeNull:
	case codeInt:
		d.take(4)
	case 'I', 'g': // int64 of old, float
		d.take(8)
	case 'y': // complex
		d.take(16)
	case 'l': // long: digits of 15 bits, the sign with the count
		n := int32(d.uint32())
		if n < 0 {
			n = -n
		}
		d.take(uint32(n) * 2)
	case codeBytes, codeUnicode, codeInterned, codeASCII, codeASCIIInt:
		d.take(d.uint32())
	case codeShort, codeShortInt:
		if n := d.take(1); n != "" {
			d.take(uint32(n[0]))
		}
	case codeTuple, codeSmallTuple, codeList, '<', '>':
		n := 0
		if code != codeSmallTuple {
			n = int(d.uint32())
		} else if s := d.take(1); s != "" {
			n = int(s[0])
		}
		if n < 0 || n > len(d.in)-d.pos {
			d.fail()
		}
		d.enter(back)
		for range n {
			if d.Skip(); d.failed {
				break
			}
		}
		d.exit()
	case codeDict:
		d.enter(back)
		for !d.failed {
			if d.pos < len(d.in) && d.in[d.pos] == codeNull {
				d.pos++
				break
			}
			d.Skip()
		}
		d.exit()
	default:
		d.fail()
	}
	d.nested--
	d.leave(back)
}

// enter and exit surround the items of a container that was met through a reference:
// its parts were noted the first time.
func (d *Decoder) enter(back int) {
	if back >= 0 || d.depth > 0 {
		if d.depth++; d.depth > maxDepth {
			d.fail()
		}
	}
}

func (d *Decoder) exit() {
	if !d.failed && d.depth > 0 {
		d.depth--
	}
}

// latin1 turns UTF-8 into one byte a character.
func latin1(s string) (string, bool) {
	i := 0
	for i < len(s) && s[i] < 0x80 {
		i++
	}
	if i == len(s) {
		return s, true
	}
	var b strings.Builder
	b.Grow(len(s))
	b.WriteString(s[:i])
	for i < len(s) {
		c := s[i]
		switch {
		case c < 0x80:
			i++
		case (c == 0xc2 || c == 0xc3) && i+1 < len(s) && s[i+1]&0xc0 == 0x80:
			c = c<<6 | s[i+1]&0x3f
			i += 2
		default:
			return "", false
		}
		b.WriteByte(c)
	}
	return b.String(), true
}
