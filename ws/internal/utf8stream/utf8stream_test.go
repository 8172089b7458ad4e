package utf8stream_test

import (
	"testing"
	"unicode/utf8"

	"github.com/chaussette/chaussette/ws/internal/utf8stream"
)

// FuzzChecker cuts text in two and compares with the standard library.
func FuzzChecker(f *testing.F) {
	f.Add([]byte("κόσμε"), 3)
	f.Add([]byte("\xf4\x90\x80\x80"), 2)
	f.Add([]byte("\xed\xa0\x80"), 1)
	f.Add([]byte("\U0010ffff"), 1)
	f.Fuzz(func(t *testing.T, p []byte, at int) {
		at = min(max(at, 0), len(p))
		var c utf8stream.Checker
		valid := c.Write(p[:at]) && c.Write(p[at:]) && c.Whole()
		if valid != utf8.Valid(p) {
			t.Fatalf("%q cut at %d: valid is %t", p, at, valid)
		}
		// Byte by byte: at the first fault nothing can follow that makes it good.
		c = utf8stream.Checker{}
		for i := range p {
			if c.Write(p[i : i+1]) {
				continue
			}
			for _, rest := range []string{"\x80", "\xbf", "\x80\x80", "\x80\x80\x80", "\xbf\xbf\xbf"} {
				if utf8.ValidString(string(p[:i+1]) + rest) {
					t.Fatalf("%q is refused at byte %d, but %q makes it good", p, i, rest)
				}
			}
			return
		}
		if c.Whole() != utf8.Valid(p) {
			t.Fatalf("%q byte by byte: whole is %t", p, c.Whole())
		}
	})
}
