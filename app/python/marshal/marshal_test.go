package marshal_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/app/python/marshal"
)

// python runs code with in on its standard input.
func python(t testing.TB, code string, in []byte) []byte {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", "-I", "-c", "import sys, marshal\nread, write = sys.stdin.buffer.read, sys.stdout.buffer.write\n"+code)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("python: %v\n%s", err, out)
	}
	return out
}

func TestPythonReadsWhatIsAppended(t *testing.T) {
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"none", marshal.AppendNone(nil), "None"},
		{"true", marshal.AppendTrue(nil), "True"},
		{"int", marshal.AppendInt(nil, -70000), "-70000"},
		{"ascii", marshal.AppendLatin1(nil, "GET"), "'GET'"},
		{"empty", marshal.AppendLatin1(nil, ""), "''"},
		{"latin-1", marshal.AppendLatin1(nil, "/\xe9\xff\x80\x00"), `'/\xe9\xff\x80\x00'`},
		{"utf-8 is bytes", marshal.AppendLatin1(nil, "é"), `'\xc3\xa9'`},
		{"255", marshal.AppendLatin1(nil, strings.Repeat("a", 255)), "'" + strings.Repeat("a", 255) + "'"},
		{"256", marshal.AppendLatin1(nil, strings.Repeat("a", 256)), "'" + strings.Repeat("a", 256) + "'"},
		{"256 latin-1", marshal.AppendLatin1(nil, strings.Repeat("\xe9", 256)), "'" + strings.Repeat(`\xe9`, 256) + "'"},
		{"key", marshal.AppendKey(nil, "HTTP_HOST"), "'HTTP_HOST'"},
		{"bytes", marshal.AppendBytes(nil, []byte{0, 0xff}), `b'\x00\xff'`},
		{"list of a tuple", marshal.AppendInt(marshal.AppendTuple(marshal.AppendList(nil, 1), 1), 7), "[(7,)]"},
		{"dict", marshal.CloseDict(marshal.AppendInt(marshal.AppendKey(marshal.OpenDict(nil), "a"), 1)), "{'a': 1}"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := string(python(t, "write(ascii(marshal.loads(read())).encode())", test.got)); got != test.want {
				t.Errorf("python reads %s, want %s", got, test.want)
			}
		})
	}
}

func TestDecodeWhatPythonDumps(t *testing.T) {
	code := `
h = [('Content-Type', 'text/plain'), ('X-Name', 'caf\xe9')]
s = '200 OK'
write(marshal.dumps([(1, s, h, b'one'), (300, s, h, None), (1, s, list(h), b'one')], VERSION))`
	for _, version := range []string{"2", "3", "4"} {
		t.Run(version, func(t *testing.T) {
			var d marshal.Decoder
			d.Reset(string(python(t, strings.ReplaceAll(code, "VERSION", version), nil)))
			n, list := d.List()
			if n != 3 {
				t.Fatalf("%d answers, want 3", n)
			}
			for i, want := range []struct {
				id   int
				body string
				ok   bool
			}{{1, "one", true}, {300, "", false}, {1, "one", true}} {
				_, answer := d.List()
				if id := d.Int(); id != want.id {
					t.Errorf("%d: id %d, want %d", i, id, want.id)
				}
				if s, _ := d.Latin1(); s != "200 OK" {
					t.Errorf("%d: status %q", i, s)
				}
				n, headers := d.List()
				var got []string
				for range n {
					_, pair := d.List()
					name, _ := d.Latin1()
					value, _ := d.Latin1()
					got = append(got, name+"="+value)
					d.Close(pair)
				}
				d.Close(headers)
				if s := strings.Join(got, " "); s != "Content-Type=text/plain X-Name=caf\xe9" {
					t.Errorf("%d: headers %q", i, s)
				}
				if body, ok := d.Bytes(); body != want.body || ok != want.ok {
					t.Errorf("%d: body %q, %v", i, body, ok)
				}
				d.Close(answer)
			}
			d.Close(list)
			if d.Err() != nil || d.More() {
				t.Errorf("err %v, more %v", d.Err(), d.More())
			}
		})
	}
}

func TestSkip(t *testing.T) {
	// What an app may put where a str belongs, each of them twice so that references occur.
	out := python(t, `
odd = [None, True, 7, 2 ** 80, -1.5, 1j, b'x', 'e\u20ac', ('a', ['b']), {'k': {1: 'v'}}, {1, 2}, frozenset([3]), Ellipsis]
write(marshal.dumps([(x, 'after') for x in odd + odd], 4))`, nil)
	var d marshal.Decoder
	d.Reset(string(out))
	n, list := d.List()
	for i := range n {
		_, pair := d.List()
		if s, ok := d.Latin1(); ok {
			t.Errorf("%d: read %q, want none", i, s)
		}
		if s, ok := d.Latin1(); s != "after" || !ok {
			t.Errorf("%d: then %q, %v", i, s, ok)
		}
		d.Close(pair)
	}
	d.Close(list)
	if n != 26 || d.Err() != nil || d.More() {
		t.Errorf("n %d, err %v, more %v", n, d.Err(), d.More())
	}
}

// A list is found among what an app may put where one belongs, and all of it is passed over.
func TestItems(t *testing.T) {
	out := python(t, `
odd = [None, 7, 'XY', b'XY', {'X', 'Y'}, frozenset(['X', 'Y']), {'X': 'Y'}]
write(marshal.dumps([(x, ('a', 'b')) for x in odd + odd], 4))`, nil)
	var d marshal.Decoder
	d.Reset(string(out))
	n, list := d.List()
	for i := range n {
		_, pair := d.List()
		if m, _, ok := d.Items(); ok {
			t.Errorf("%d: a list of %d, want none", i, m)
		}
		m, mark, ok := d.Items()
		a, _ := d.Latin1()
		b, _ := d.Latin1()
		if m != 2 || !ok || a != "a" || b != "b" {
			t.Errorf("%d: then %d, %v, %q, %q", i, m, ok, a, b)
		}
		d.Close(mark)
		d.Close(pair)
	}
	d.Close(list)
	if n != 14 || d.Err() != nil || d.More() {
		t.Errorf("n %d, err %v, more %v", n, d.Err(), d.More())
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add("[\x01\x00\x00\x00)\x02i\x01\x00\x00\x00s\x01\x00\x00\x00a")
	f.Add("\xdb\x01\x00\x00\x00r\x00\x00\x00\x00") // a list that holds itself
	f.Add("\xe9\x01\x00\x00\x00r\x00\x00\x00\x00")
	f.Add("(\xff\xff\xff\xff")
	f.Add("u\x02\x00\x00\x00\xc3\xa9")
	f.Fuzz(func(t *testing.T, in string) {
		var d marshal.Decoder
		d.Reset(in)
		n, list := d.List()
		for range n {
			m, tuple := d.List()
			for range m {
				d.Int()
				d.Latin1()
				d.Bytes()
			}
			d.Close(tuple)
		}
		d.Close(list)
		d.Reset(in)
		d.Skip()
		d.Reset(in)
		if s, ok := d.Latin1(); ok {
			var again marshal.Decoder
			again.Reset(string(marshal.AppendLatin1(nil, s)))
			if got, ok := again.Latin1(); got != s || !ok {
				t.Errorf("%q became %q (%v)", s, got, again.Err())
			}
		}
	})
}
