package parser_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/chaussette/chaussette/socketio/parser"
)

func text(s string) parser.Message { return parser.Message{Data: []byte(s)} }

func binary(b ...byte) parser.Message { return parser.Message{Data: b, Binary: true} }

func event(data string, attachments ...[]byte) *parser.Packet {
	return &parser.Packet{Type: parser.Event, Namespace: "/", Data: []byte(data), Attachments: attachments}
}

// The wire, both ways: what is decoded from messages is encoded to the same.
func TestWire(t *testing.T) {
	ack := func(p *parser.Packet, id uint64) *parser.Packet { p.HasID, p.ID = true, id; return p }
	for _, c := range []struct {
		name   string
		parser parser.Parser
		wire   []parser.Message
		packet *parser.Packet
	}{
		{"connect", parser.V5, []parser.Message{text("0")}, &parser.Packet{Type: parser.Connect, Namespace: "/"}},
		{"connect with auth", parser.V5, []parser.Message{text(`0/admin,{"token":"x"}`)},
			&parser.Packet{Type: parser.Connect, Namespace: "/admin", Data: []byte(`{"token":"x"}`)}},
		{"disconnect", parser.V5, []parser.Message{text("1/admin,")}, &parser.Packet{Type: parser.Disconnect, Namespace: "/admin"}},
		{"event", parser.V5, []parser.Message{text(`2["hi",1]`)}, event(`["hi",1]`)},
		{"event to ack", parser.V5, []parser.Message{text(`2/a,12["hi"]`)},
			ack(&parser.Packet{Type: parser.Event, Namespace: "/a", Data: []byte(`["hi"]`)}, 12)},
		{"ack", parser.V5, []parser.Message{text(`30[]`)}, ack(&parser.Packet{Type: parser.Ack, Namespace: "/", Data: []byte(`[]`)}, 0)},
		{"binary event", parser.V5, []parser.Message{text(`51-["b",{"_placeholder":true,"num":0}]`), binary(1, 2)},
			event(`["b",{"_placeholder":true,"num":0}]`, []byte{1, 2})},
		{"binary ack", parser.V4, []parser.Message{text(`61-/x,3[{"_placeholder":true,"num":0}]`), binary()},
			ack(&parser.Packet{Type: parser.Ack, Namespace: "/x", Data: []byte(`[{"_placeholder":true,"num":0}]`), Attachments: [][]byte{nil}}, 3)},
		{"error", parser.V5, []parser.Message{text(`4/x,{"message":"no"}`)},
			&parser.Packet{Type: parser.ConnectError, Namespace: "/x", Data: []byte(`{"message":"no"}`)}},
		{"connect with query", parser.V4, []parser.Message{text(`0/x?a=b,`)}, &parser.Packet{Type: parser.Connect, Namespace: "/x", Query: "a=b"}},

		{"0.9 connect", parser.V09, []parser.Message{text("1::/chat")}, &parser.Packet{Type: parser.Connect, Namespace: "/chat"}},
		{"0.9 disconnect", parser.V09, []parser.Message{text("0::")}, &parser.Packet{Type: parser.Disconnect, Namespace: "/"}},
		{"0.9 event", parser.V09, []parser.Message{text(`5:::{"name":"hi","args":["a:b",{"c":1}]}`)}, event(`["hi","a:b",{"c":1}]`)},
		{"0.9 event to ack", parser.V09, []parser.Message{text(`5:7+:/chat:{"name":"hi","args":[]}`)},
			ack(&parser.Packet{Type: parser.Event, Namespace: "/chat", Data: []byte(`["hi"]`)}, 7)},
		{"0.9 ack", parser.V09, []parser.Message{text(`6:::7+["x"]`)}, ack(&parser.Packet{Type: parser.Ack, Namespace: "/", Data: []byte(`["x"]`)}, 7)},
		{"0.9 empty ack", parser.V09, []parser.Message{text(`6::/a:7`)}, ack(&parser.Packet{Type: parser.Ack, Namespace: "/a", Data: []byte(`[]`)}, 7)},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := c.parser.NewDecoder(nil)
			var got parser.Packet
			for i, m := range c.wire {
				done, err := d.Decode(m, &got)
				if err != nil {
					t.Fatal(err)
				}
				if done != (i == len(c.wire)-1) {
					t.Fatalf("done %t after message %d of %d", done, i+1, len(c.wire))
				}
			}
			if !samePacket(&got, c.packet) {
				t.Errorf("decoded %+v, want %+v", got, *c.packet)
			}
			wire, err := c.parser.Encode(c.packet)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(strs(wire), strs(c.wire)) {
				t.Errorf("encoded %q, want %q", strs(wire), strs(c.wire))
			}
		})
	}
}

func samePacket(a, b *parser.Packet) bool {
	if a.Type != b.Type || a.Namespace != b.Namespace || a.Query != b.Query || a.HasID != b.HasID || a.ID != b.ID ||
		string(a.Data) != string(b.Data) || len(a.Attachments) != len(b.Attachments) {
		return false
	}
	for i := range a.Attachments {
		if string(a.Attachments[i]) != string(b.Attachments[i]) {
			return false
		}
	}
	return true
}

func strs(messages []parser.Message) []string {
	var s []string
	for _, m := range messages {
		s = append(s, map[bool]string{true: "binary ", false: "text "}[m.Binary]+string(m.Data))
	}
	return s
}

// What only one direction has.
func TestDecodeOnly(t *testing.T) {
	for _, c := range []struct {
		name   string
		parser parser.Parser
		wire   string
		want   string // data
	}{
		{"0.9 message", parser.V09, `3:1::say "x"`, `["message","say \"x\""]`},
		{"0.9 json", parser.V09, `4:::{"a":[1]}`, `["message",{"a":[1]}]`},
		{"0.9 event without args", parser.V09, `5:::{"name":"n"}`, `["n"]`},
		{"0.9 args before name", parser.V09, `5:::{"args":[1,[2]],"name":"n"}`, `["n",1,[2]]`},
		{"connect without a comma", parser.V5, `0/x`, ``},
		{"name is a number", parser.V5, `2[1,2]`, `[1,2]`},
		{"what looks like a placeholder", parser.V5, `2["x",{"_placeholder":true,"num":9}]`, `["x",{"_placeholder":true,"num":9}]`},
		{"__proto__ is data", parser.V5, `2["__proto__",{"__proto__":{"a":1}}]`, `["__proto__",{"__proto__":{"a":1}}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p parser.Packet
			done, err := c.parser.NewDecoder(nil).Decode(text(c.wire), &p)
			if err != nil || !done {
				t.Fatal(done, err)
			}
			if string(p.Data) != c.want {
				t.Errorf("%s, want %s", p.Data, c.want)
			}
		})
	}
}

func TestBadInput(t *testing.T) {
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	for _, c := range []struct {
		name   string
		parser parser.Parser
		wire   []parser.Message
		want   error
	}{
		{"empty", parser.V5, []parser.Message{text("")}, parser.ErrType},
		{"reserved type", parser.V5, []parser.Message{text(`7["x"]`)}, parser.ErrType},
		{"letters", parser.V5, []parser.Message{text("abc")}, parser.ErrType},
		{"event without data", parser.V5, []parser.Message{text("2")}, parser.ErrPayload},
		{"event without name", parser.V5, []parser.Message{text("2[]")}, parser.ErrPayload},
		{"event is an object", parser.V5, []parser.Message{text(`2{"a":1}`)}, parser.ErrPayload},
		{"name is null", parser.V5, []parser.Message{text(`2[null]`)}, parser.ErrPayload},
		{"name is an object", parser.V5, []parser.Message{text(`2[{"toString":"foo"}]`)}, parser.ErrPayload},
		{"named connect", parser.V5, []parser.Message{text(`2["connect"]`)}, parser.ErrReserved},
		{"named connect, escaped", parser.V5, []parser.Message{text(`2["\u0063onnect"]`)}, parser.ErrReserved},
		{"named disconnect in 0.9", parser.V09, []parser.Message{text(`5:::{"name":"disconnect"}`)}, parser.ErrReserved},
		{"ack without id", parser.V5, []parser.Message{text(`3["x"]`)}, parser.ErrPayload},
		{"ack id beyond 2^53", parser.V5, []parser.Message{text(`39007199254740992[]`)}, parser.ErrFormat},
		{"ack id beyond 2^64", parser.V5, []parser.Message{text(`299999999999999999999999["x"]`)}, parser.ErrFormat},
		{"disconnect with data", parser.V5, []parser.Message{text(`1{"a":1}`)}, parser.ErrPayload},
		{"connect with an array", parser.V5, []parser.Message{text(`0[1]`)}, parser.ErrPayload},
		{"cut off", parser.V5, []parser.Message{text(`2["a"`)}, parser.ErrJSON},
		{"rest after it", parser.V5, []parser.Message{text(`2["a"]]`)}, parser.ErrJSON},
		{"trailing comma", parser.V5, []parser.Message{text(`2["a",]`)}, parser.ErrJSON},
		{"not UTF-8", parser.V5, []parser.Message{text("2[\"a\xff\"]")}, parser.ErrJSON},
		{"a rune cut", parser.V5, []parser.Message{text("2[\"\xe2\x82")}, parser.ErrJSON},
		{"nested", parser.V5, []parser.Message{text(`2["a",` + deep + `]`)}, parser.ErrDepth},
		{"nested in 0.9", parser.V09, []parser.Message{text(`5:::{"name":"a","args":[` + deep + `]}`)}, parser.ErrDepth},
		{"binary not promised", parser.V5, []parser.Message{binary(1)}, parser.ErrNotPromised},
		{"binary in 0.9", parser.V09, []parser.Message{binary(1)}, parser.ErrNotPromised},
		{"promised and not sent", parser.V5, []parser.Message{text(`51-["a",{"_placeholder":true,"num":0}]`), text(`2["b"]`)}, parser.ErrNotDelivered},
		{"one too many", parser.V5, []parser.Message{text(`51-["a",{"_placeholder":true,"num":0}]`), binary(1), binary(2)}, parser.ErrNotPromised},
		{"10^9 promised", parser.V5, []parser.Message{text(`51000000000-["a"]`)}, parser.ErrAttachments},
		{"10^30 promised", parser.V5, []parser.Message{text(`51000000000000000000000000000000-["a"]`)}, parser.ErrFormat},
		{"no number", parser.V5, []parser.Message{text(`5-["a"]`)}, parser.ErrFormat},
		{"no dash", parser.V5, []parser.Message{text(`51["a"]`)}, parser.ErrFormat},
		{"placeholder out of range", parser.V5, []parser.Message{text(`51-["a",{"_placeholder":true,"num":1}]`)}, parser.ErrPlaceholder},
		{"placeholder below range", parser.V5, []parser.Message{text(`51-["a",{"_placeholder":true,"num":-1}]`)}, parser.ErrPlaceholder},
		{"placeholder is a string", parser.V5, []parser.Message{text(`51-["a",{"_placeholder":true,"num":"splice"}]`)}, parser.ErrPlaceholder},
		{"placeholder without num", parser.V5, []parser.Message{text(`51-["a",{"_placeholder":true}]`)}, parser.ErrPlaceholder},
		{"placeholder in an ack", parser.V5, []parser.Message{text(`61-1[{"num":7,"_placeholder":true}]`)}, parser.ErrPlaceholder},
		{"0.9 without colons", parser.V09, []parser.Message{text(`5`)}, parser.ErrFormat},
		{"0.9 type of two digits", parser.V09, []parser.Message{text(`55::`)}, parser.ErrFormat},
		{"0.9 unknown type", parser.V09, []parser.Message{text(`9::`)}, parser.ErrType},
		{"0.9 event without name", parser.V09, []parser.Message{text(`5:::{"args":[]}`)}, parser.ErrPayload},
		{"0.9 args are an object", parser.V09, []parser.Message{text(`5:::{"name":"a","args":{}}`)}, parser.ErrPayload},
		{"0.9 id is a word", parser.V09, []parser.Message{text(`5:x+::{"name":"a"}`)}, parser.ErrFormat},
		{"0.9 ack id is a word", parser.V09, []parser.Message{text(`6:::x`)}, parser.ErrPayload},
		{"msgpack of nothing", parser.Msgpack, []parser.Message{binary()}, parser.ErrFormat},
		{"msgpack without type", parser.Msgpack, []parser.Message{pack(map[string]any{"nsp": "/"})}, parser.ErrType},
		{"msgpack type 5", parser.Msgpack, []parser.Message{pack(map[string]any{"type": 5, "nsp": "/", "data": []any{"x"}})}, parser.ErrType},
		{"msgpack array of 2^32", parser.Msgpack, []parser.Message{binary(0x82, 0xa4, 't', 'y', 'p', 'e', 2, 0xa4, 'd', 'a', 't', 'a', 0xdd, 0xff, 0xff, 0xff, 0xff)}, parser.ErrFormat},
		{"msgpack after text", parser.Msgpack, []parser.Message{text("0")}, parser.ErrFormat},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := c.parser.NewDecoder(nil)
			var p parser.Packet
			var err error
			for _, m := range c.wire {
				if _, err = d.Decode(m, &p); err != nil {
					break
				}
			}
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			var s *parser.SyntaxError
			if !errors.As(err, &s) {
				t.Errorf("%T, want a *SyntaxError", err)
			}
		})
	}
}

func pack(v any) parser.Message {
	b, err := msgpack.Marshal(v)
	if err != nil {
		panic(err)
	}
	return parser.Message{Data: b, Binary: true}
}

func TestLimits(t *testing.T) {
	limits := &parser.Limits{Attachments: 1, Bytes: 60, Depth: 2}
	d := parser.V5.NewDecoder(limits)
	var p parser.Packet
	if _, err := d.Decode(text(`52-["a"]`), &p); !errors.Is(err, parser.ErrAttachments) {
		t.Error(err)
	}
	if _, err := d.Decode(text(`2["a",[[1]]]`), &p); !errors.Is(err, parser.ErrDepth) {
		t.Error(err)
	}
	if done, err := d.Decode(text(`51-["a",{"_placeholder":true,"num":0}]`), &p); done || err != nil {
		t.Fatal(done, err)
	}
	if _, err := d.Decode(binary(make([]byte, 40)...), &p); !errors.Is(err, parser.ErrTooLarge) {
		t.Error(err)
	}
}

func TestMsgpack(t *testing.T) {
	p := &parser.Packet{Type: parser.Event, Namespace: "/m", HasID: true, ID: 3,
		Data:        []byte(`["x",{"a":[1,-2,1.5,null,true,"é"],"b":{"_placeholder":true,"num":0}}]`),
		Attachments: [][]byte{{9, 8}}}
	wire, err := parser.Msgpack.Encode(p)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := msgpack.Unmarshal(wire[0].Data, &m); err != nil {
		t.Fatal(err)
	}
	if b := m["data"].([]any)[1].(map[string]any)["b"]; !reflect.DeepEqual(b, []byte{9, 8}) {
		t.Errorf("binary went out as %v", b)
	}
	var got parser.Packet
	if done, err := parser.Msgpack.NewDecoder(nil).Decode(wire[0], &got); !done || err != nil {
		t.Fatal(done, err)
	}
	if len(got.Attachments) != 1 || got.ID != 3 || !got.HasID || got.Namespace != "/m" || !sameJSON(got.Data, p.Data) {
		t.Errorf("%+v", got)
	}
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// Clients of V4 get ASCII; those of 0.9 base64 for binary, since they have none.
func TestOldClients(t *testing.T) {
	wire, err := parser.V4.Encode(event(`["é😀\n"]`))
	if err != nil || string(wire[0].Data) != `2["\u00e9\ud83d\ude00\n"]` {
		t.Errorf("%s %v", wire[0].Data, err)
	}
	wire, _ = parser.V4.Encode(&parser.Packet{Type: parser.ConnectError, Namespace: "/x", Data: []byte(`{"message":"no"}`)})
	if string(wire[0].Data) != `4/x,"no"` {
		t.Errorf("%s", wire[0].Data)
	}
	wire, err = parser.V09.Encode(event(`["b",{"_placeholder":true,"num":0},2]`, []byte("abc")))
	if err != nil || string(wire[0].Data) != `5:::{"name":"b","args":["YWJj",2]}` {
		t.Errorf("%s %v", wire[0].Data, err)
	}
}

func TestValues(t *testing.T) {
	type inner struct {
		Name string
		Blob []byte `json:"blob"`
	}
	data, attachments, err := parser.Marshal("ev", 1, "q\"<é>", []byte{1}, inner{"n", []byte{2}}, map[string]any{"deep": []any{[]byte{3}}},
		json.RawMessage(`{"raw": 1}`), nil, 1.5, true)
	if err != nil {
		t.Fatal(err)
	}
	want := `["ev",1,"q\"<é>",{"_placeholder":true,"num":0},{"Name":"n","blob":{"_placeholder":true,"num":1}},{"deep":[{"_placeholder":true,"num":2}]},{"raw": 1},null,1.5,true]`
	if string(data) != want || len(attachments) != 3 {
		t.Fatalf("%s %v", data, attachments)
	}

	elements := parser.Elements(data)
	raw := func(i int) parser.Raw { return parser.Raw{JSON: elements[i], Attachments: attachments} }
	var blob []byte
	if err := raw(3).Unmarshal(&blob); err != nil || string(blob) != "\x01" {
		t.Error(blob, err)
	}
	var in inner
	if err := raw(4).Unmarshal(&in); err != nil || in.Name != "n" || string(in.Blob) != "\x02" {
		t.Error(in, err)
	}
	var any5 any
	if err := raw(5).Unmarshal(&any5); err != nil || !reflect.DeepEqual(any5, map[string]any{"deep": []any{[]byte{3}}}) {
		t.Error(any5, err)
	}
	var n int
	if err := raw(3).Unmarshal(&n); err == nil {
		t.Error("binary became a number")
	}
	if err := (parser.Raw{JSON: json.RawMessage(`"AQI="`)}).Unmarshal(&blob); err != nil || string(blob) != "\x01\x02" {
		t.Error("base64 is taken where there is no binary", blob, err)
	}

	// What came is passed on, and only the attachments it speaks of.
	data, attachments, err = parser.Marshal("again", raw(5), raw(3))
	if err != nil || string(data) != `["again",{"deep":[{"_placeholder":true,"num":0}]},{"_placeholder":true,"num":1}]` ||
		!reflect.DeepEqual(attachments, [][]byte{{3}, {1}}) {
		t.Errorf("%s %v %v", data, attachments, err)
	}

	if _, _, err := parser.Marshal(json.RawMessage(`{"broken"`)); err == nil {
		t.Error("broken JSON goes to all")
	}
	if _, _, err := parser.Marshal(func() {}); err == nil {
		t.Error("a function was encoded")
	}
}

func TestAppendElement(t *testing.T) {
	for array, want := range map[string]string{`["a"]`: `["a","x"]`, `[]`: `["x"]`, `["a", 1] `: `["a", 1,"x"]`} {
		if got := parser.AppendElement([]byte(array), "x"); string(got) != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
