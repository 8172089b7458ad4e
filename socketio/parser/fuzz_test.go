package parser_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/chaussette/chaussette/socketio/parser"
)

var seeds = []string{
	"0", `0{"token":"x"}`, `0/admin?x=y,`, `1/a,`, `2["hi",1,{"a":[null]}]`, `2/a,12["hi"]`, `30[]`, `4{"message":"no"}`,
	`51-["b",{"_placeholder":true,"num":0}]`, `61-/x,3[{"_placeholder":true,"num":0}]`, `51000000000-["a"]`, `2["connect"]`,
	`2["\u0000\ud800",-1.5e-3]`, "2[\"\xff\"]", "2 [ \"a\" , 1 ] ",
}

func FuzzV5(f *testing.F) { fuzz(f, parser.V5, seeds...) }

func FuzzV4(f *testing.F) { fuzz(f, parser.V4, seeds...) }

func FuzzV09(f *testing.F) {
	fuzz(f, parser.V09, `1::/chat?a=b`, `0::`, `3:1::text`, `4:::{"a":1}`, `5:7+:/c:{"name":"hi","args":["a",[1]]}`, `6:::7+["x"]`, `6:::7`, `7::/x:2`, `5:::{"args":[],"name":"\u0061"}`)
}

func FuzzMsgpack(f *testing.F) {
	f.Add([]byte("\x82\xa4type\x02\xa4data\x91\xa1x"), []byte{})
	f.Add([]byte("\x84\xa4type\x02\xa3nsp\xa1/\xa2id\x05\xa4data\x92\xa1x\xc4\x02ab"), []byte{})
	f.Add([]byte("\x82\xa4type\x02\xa4data\xdd\xff\xff\xff\xff"), []byte{})
	f.Add([]byte("\x82\xa4type\x02\xa4data\x92\xa1x\xd6\xff\x00\x00\x00\x01"), []byte{})
	f.Fuzz(func(t *testing.T, a, _ []byte) {
		survives(t, parser.Msgpack, []parser.Message{{Data: a, Binary: true}})
	})
}

// fuzz feeds a text message and a binary one. Nothing panics, and what is decoded is the
// same after it was encoded and decoded again.
func fuzz(f *testing.F, p parser.Parser, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s), []byte("\x01\x02"))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		survives(t, p, []parser.Message{{Data: a}, {Data: b, Binary: true}})
	})
}

func survives(t *testing.T, p parser.Parser, wire []parser.Message) {
	d := p.NewDecoder(nil)
	for _, m := range wire {
		var first parser.Packet
		done, err := d.Decode(m, &first)
		if err != nil {
			return
		}
		if !done {
			continue
		}
		if len(first.Data) > 0 && !json.Valid(first.Data) {
			t.Fatalf("%q passed for JSON", first.Data)
		}
		again, err := p.Encode(&first)
		if err != nil {
			t.Fatalf("%+v cannot be encoded: %v", first, err)
		}
		var second parser.Packet
		d := p.NewDecoder(nil)
		for i, m := range again {
			done, err := d.Decode(m, &second)
			if err != nil || done != (i == len(again)-1) {
				t.Fatalf("%+v, encoded: %t %v", first, done, err)
			}
		}
		if p == parser.V4 && (first.Type == parser.Connect || first.Type == parser.ConnectError) {
			continue // the data of these are not for old clients
		}
		if p == parser.V09 && first.Type == parser.ConnectError {
			continue
		}
		second.Query = first.Query // only clients send it
		if p == parser.V5 && !samePacket(&first, &second) {
			t.Fatalf("%+v became %+v", first, second)
		}
	}
}

// The scanner takes what encoding/json takes, if it is UTF-8.
func FuzzScan(f *testing.F) {
	for _, s := range []string{`{}`, `[1,2.5e+3,"a\"\\\u12aF",{"b":[null,true,false]}]`, `01`, `-`, `1.`, `"\x"`, ` 1 `, `[1,]`, `{"a"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := parser.Scan(data, 1<<20, 0)
		if want := json.Valid(data) && utf8.Valid(data); (err == nil) != want {
			t.Fatalf("%q: %v, encoding/json says %t", data, err, want)
		}
		if err != nil || len(bytes.TrimSpace(data)) == 0 || bytes.TrimSpace(data)[0] != '[' {
			return
		}
		var want []json.RawMessage
		if err := json.Unmarshal(data, &want); err != nil {
			return // deeper than encoding/json goes
		}
		got := parser.Elements(data)
		if len(got) != len(want) {
			t.Fatalf("%q: %q, want %q", data, got, want)
		}
		for i := range got {
			if !bytes.Equal(bytes.TrimSpace(got[i]), bytes.TrimSpace(want[i])) {
				t.Fatalf("%q: element %d is %q, want %q", data, i, got[i], want[i])
			}
		}
	})
}
