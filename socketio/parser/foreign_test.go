package parser_test

import (
	"encoding/hex"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/socketio/parser"
)

// What notepack.io 3.0.1 makes of values, and what they are here.
var notepacked = []struct{ name, hex, json string }{
	{"small integers", "9400ff7fe0", `[0,-1,127,-32]`},
	{"integers of each size", "98cc80cd0100ce00010000cf0000000100000000d0dfd1ff7fd2ffff7fffd3ffffffff7fffffff",
		`[128,256,65536,4294967296,-33,-129,-32769,-2147483649]`},
	{"a fraction", "cb3ff8000000000000", `1.5`},
	{"nothing", "c0", `null`},
	{"a map", "82a162c3a161c2", `{"b":true,"a":false}`},
	{"a map of many, in its order", "89a169c0a168c0a167c0a166c0a165c0a164c0a163c0a162c0a161c0",
		`{"i":null,"h":null,"g":null,"f":null,"e":null,"d":null,"c":null,"b":null,"a":null}`},
	{"a long string", "d921" + strings.Repeat("61", 33), `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`},
	{"binary", "91c403010203", `[{"_placeholder":true,"num":0}]`},
}

func TestMsgpackValues(t *testing.T) {
	for _, c := range notepacked {
		t.Run(c.name, func(t *testing.T) {
			wire, err := hex.DecodeString(c.hex)
			if err != nil {
				t.Fatal(err)
			}
			r, err := parser.DecodeMsgpack(wire, nil)
			if err != nil || string(r.JSON) != c.json {
				t.Fatalf("%s, %v; want %s", r.JSON, err, c.json)
			}
			again, err := parser.EncodeMsgpack(r)
			if err != nil || hex.EncodeToString(again) != c.hex {
				t.Errorf("%x, %v; want %s", again, err, c.hex)
			}
		})
	}
}

// Dates and what older versions of notepack wrote are read, and not written.
func TestMsgpackExtensions(t *testing.T) {
	for _, c := range []struct{ name, hex, json string }{
		{"undefined", "91d40000", `[null]`},
		{"a date before version 3", "d7000000018bcfe56800", `"2023-11-14T22:13:20.000Z"`},
		{"a date of 32 bits", "d6ff6553f100", `"2023-11-14T22:13:20.000Z"`},
		{"a date of 64 bits", "d7ff77359400" + "6553f100", `"2023-11-14T22:13:20.500Z"`},
		{"an ArrayBuffer", "c70300010203", `{"_placeholder":true,"num":0}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			wire, err := hex.DecodeString(c.hex)
			if err != nil {
				t.Fatal(err)
			}
			if r, err := parser.DecodeMsgpack(wire, nil); err != nil || string(r.JSON) != c.json {
				t.Errorf("%s, %v; want %s", r.JSON, err, c.json)
			}
		})
	}
}

func TestMsgpackBadValues(t *testing.T) {
	for _, c := range []struct {
		name, hex string
		want      error
	}{
		{"none", "", parser.ErrFormat},
		{"two", "0101", parser.ErrFormat},
		{"a length beyond the end", "dd7fffffff", parser.ErrFormat},
		{"binary beyond the end", "c6ffffffff00", parser.ErrFormat},
		{"a code that is none", "c1", parser.ErrFormat},
		{"a number as a key", "810101", parser.ErrFormat},
		{"an extension of a length with its top bit set", "c9ffffffff00", parser.ErrFormat},
		{"too deep", "9191919191919191919101", parser.ErrDepth},
	} {
		t.Run(c.name, func(t *testing.T) {
			wire, err := hex.DecodeString(c.hex)
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r, err := parser.DecodeMsgpack(wire, &parser.Limits{Depth: 8})
			runtime.ReadMemStats(&after)
			if !errors.Is(err, c.want) {
				t.Errorf("%s, %v; want %v", r.JSON, err, c.want)
			}
			// A few bytes could claim 4 GiB once, and a client could send them.
			if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
				t.Errorf("took %d bytes", n)
			}
		})
	}
}

// A part of a value takes the binary that it speaks of, and no other.
func TestPart(t *testing.T) {
	whole := parser.Raw{JSON: []byte(`[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`), Attachments: [][]byte{{1}, {2}}}
	r, err := whole.Part([]byte(`["x",{"_placeholder":true,"num":1}]`))
	if err != nil || string(r.JSON) != `["x",{"_placeholder":true,"num":0}]` || !slices.Equal(r.Attachments[0], []byte{2}) || len(r.Attachments) != 1 {
		t.Errorf("%s %v, %v", r.JSON, r.Attachments, err)
	}
	if _, err := whole.Part([]byte(`{"_placeholder":true,"num":2}`)); !errors.Is(err, parser.ErrPlaceholder) {
		t.Errorf("an attachment that is not there: %v", err)
	}
	plain := parser.Raw{JSON: []byte(`{"_placeholder":true,"num":7}`)}
	if r, err := plain.Part(plain.JSON); err != nil || string(r.JSON) != string(plain.JSON) {
		t.Errorf("what only looks like a placeholder: %s, %v", r.JSON, err)
	}
}

func FuzzMsgpackValue(f *testing.F) {
	for _, c := range notepacked {
		wire, err := hex.DecodeString(c.hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		first, err := parser.DecodeMsgpack(wire, nil)
		if err != nil {
			return
		}
		if err := parser.Scan(first.JSON, 1000, len(first.Attachments)); err != nil {
			t.Fatalf("%x became %s: %v", wire, first.JSON, err)
		}
		again, err := parser.EncodeMsgpack(first)
		if err != nil {
			t.Fatalf("%s cannot be encoded: %v", first.JSON, err)
		}
		if _, err := parser.DecodeMsgpack(again, nil); err != nil {
			t.Fatalf("%s, encoded: %v", first.JSON, err)
		}
	})
}
