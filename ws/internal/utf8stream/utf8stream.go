// Package utf8stream checks text that comes in parts, and finds fault as soon as there is
// one: in the middle of a rune, too.
package utf8stream

import "unicode/utf8"

// Checker is the state between two parts. The zero value stands at the beginning.
type Checker struct {
	partial [utf8.UTFMax]byte
	n       uint8
}

// Write reports whether the text is valid so far. After false the Checker is of no use.
func (c *Checker) Write(p []byte) bool {
	for c.n > 0 {
		if len(p) == 0 {
			return true
		}
		c.partial[c.n] = p[0]
		c.n++
		p = p[1:]
		if rune := c.partial[:c.n]; utf8.FullRune(rune) {
			// What is wrong counts as a full rune of one byte.
			if r, size := utf8.DecodeRune(rune); r == utf8.RuneError && size == 1 {
				return false
			}
			c.n = 0
		}
	}
	whole := len(p)
	for back := 1; back < utf8.UTFMax && back <= len(p); back++ {
		if utf8.RuneStart(p[len(p)-back]) {
			if !utf8.FullRune(p[len(p)-back:]) {
				whole -= back
			}
			break
		}
	}
	c.n = uint8(copy(c.partial[:], p[whole:]))
	return utf8.Valid(p[:whole])
}

// Whole reports whether the text may end here.
func (c *Checker) Whole() bool { return c.n == 0 }
