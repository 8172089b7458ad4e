package parser

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// Raw is one value as it came from a peer: JSON nobody has looked into, with the
// attachments that its placeholders speak of. It goes out again as it came.
type Raw struct {
	JSON json.RawMessage
	// Attachments are all those of the packet, of which the value may use some.
	Attachments [][]byte
}

// Unmarshal decodes r into what v points to, as encoding/json does. A []byte anywhere in
// it takes binary, or else a base64 string; in an interface{} binary is a []byte.
func (r Raw) Unmarshal(v any) error {
	switch v := v.(type) {
	case *Raw:
		*v = r
		return nil
	case *json.RawMessage:
		*v = r.JSON
		return nil
	case *string:
		if len(r.JSON) >= 2 && r.JSON[0] == '"' {
			if s, ok := plainString(r.JSON); ok {
				*v = s
				return nil
			}
		}
	}
	if len(r.Attachments) == 0 {
		return json.Unmarshal(r.JSON, v)
	}
	return jsonv2.Unmarshal(r.JSON, v, jsonv1.DefaultOptionsV1(), jsonv2.WithUnmarshalers(unmarshalers(r.Attachments)))
}

// UnmarshalJSON keeps the JSON: a Raw may stand in a struct that is decoded from a packet
// without binary.
func (r *Raw) UnmarshalJSON(b []byte) error {
	r.JSON = append(r.JSON[:0], b...)
	return nil
}

func unmarshalers(attachments [][]byte) *jsonv2.Unmarshalers {
	return jsonv2.JoinUnmarshalers(
		jsonv2.UnmarshalFromFunc(func(d *jsontext.Decoder, b *[]byte) error {
			if d.PeekKind() != '{' {
				return errors.ErrUnsupported // base64, as in encoding/json
			}
			value, err := d.ReadValue()
			if err != nil {
				return err
			}
			num, ok := placeholder(value)
			if !ok || num < 0 || num >= len(attachments) {
				return fmt.Errorf("an object where binary was expected")
			}
			*b = attachments[num]
			return nil
		}),
		jsonv2.UnmarshalFromFunc(func(d *jsontext.Decoder, r *Raw) error {
			value, err := d.ReadValue()
			if err != nil {
				return err
			}
			*r = Raw{append([]byte(nil), value...), attachments}
			return nil
		}),
		jsonv2.UnmarshalFromFunc(func(d *jsontext.Decoder, v *any) error {
			if d.PeekKind() != '{' {
				return errors.ErrUnsupported
			}
			value, err := d.ReadValue()
			if err != nil {
				return err
			}
			if num, ok := placeholder(value); ok && num >= 0 && num < len(attachments) {
				*v = attachments[num]
				return nil
			}
			m := map[string]any{}
			if err := (Raw{json.RawMessage(value), attachments}).Unmarshal(&m); err != nil {
				return err
			}
			*v = m
			return nil
		}),
	)
}

// placeholder reports whether value is a placeholder, and of which attachment.
func placeholder(value []byte) (num int, ok bool) {
	_ = placeholders(value, func(begin, end, n int) error {
		if begin == 0 && end == len(value) {
			num, ok = n, true
		}
		return nil
	})
	return num, ok
}

// Marshal encodes values as a JSON array, as encoding/json does, with each []byte, at any
// depth, lifted out as an attachment. A json.RawMessage and a Raw go in untouched.
func Marshal(values ...any) (data []byte, attachments [][]byte, err error) {
	b := builder{data: make([]byte, 0, 64)}
	b.data = append(b.data, '[')
	for i, v := range values {
		if i > 0 {
			b.data = append(b.data, ',')
		}
		if err := b.value(v); err != nil {
			return nil, nil, err
		}
	}
	return append(b.data, ']'), b.attachments, nil
}

// builder collects attachments while it appends JSON.
type builder struct {
	data        []byte
	attachments [][]byte
}

func (b *builder) value(v any) error {
	// What needs no reflection, first.
	switch v := v.(type) {
	case nil:
		b.data = append(b.data, "null"...)
		return nil
	case string:
		b.text(v)
		return nil
	case bool:
		b.data = strconv.AppendBool(b.data, v)
		return nil
	case int:
		b.data = strconv.AppendInt(b.data, int64(v), 10)
		return nil
	case int64:
		b.data = strconv.AppendInt(b.data, v, 10)
		return nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 && (v != 0 || !math.Signbit(v)) {
			b.data = strconv.AppendInt(b.data, int64(v), 10)
			return nil
		}
	case []byte:
		if v == nil {
			b.data = append(b.data, "null"...)
			return nil
		}
		b.attach(v)
		return nil
	case Raw:
		return b.raw(v)
	case json.RawMessage:
		if len(v) == 0 {
			b.data = append(b.data, "null"...)
			return nil
		}
		// A RawMessage is often what a peer sent, and has been checked then; but an app
		// may have made it, and broken JSON would cut off whoever receives it.
		if err := scan(v, 1000, 0); err != nil {
			return err
		}
		b.data = append(b.data, v...)
		return nil
	}
	encoded, err := jsonv2.Marshal(v, jsonv1.DefaultOptionsV1(), jsontext.EscapeForHTML(false), jsonv2.WithMarshalers(b.marshalers()))
	if err != nil {
		return err
	}
	b.data = append(b.data, encoded...)
	return nil
}

func (b *builder) marshalers() *jsonv2.Marshalers {
	return jsonv2.JoinMarshalers(
		jsonv2.MarshalToFunc(func(e *jsontext.Encoder, p []byte) error {
			if p == nil {
				return e.WriteToken(jsontext.Null)
			}
			b.attachments = append(b.attachments, p)
			return e.WriteValue(fmt.Appendf(nil, `{"_placeholder":true,"num":%d}`, len(b.attachments)-1))
		}),
		jsonv2.MarshalToFunc(func(e *jsontext.Encoder, r Raw) error {
			inner := builder{attachments: b.attachments}
			if err := inner.raw(r); err != nil {
				return err
			}
			b.attachments = inner.attachments
			return e.WriteValue(inner.data)
		}),
	)
}

func (b *builder) attach(p []byte) {
	b.data = append(b.data, `{"_placeholder":true,"num":`...)
	b.data = strconv.AppendInt(b.data, int64(len(b.attachments)), 10)
	b.data = append(b.data, '}')
	b.attachments = append(b.attachments, p)
}

// raw appends r, its placeholders numbered anew.
func (b *builder) raw(r Raw) error {
	switch {
	case len(r.JSON) == 0:
		b.data = append(b.data, "null"...)
		return nil
	case len(r.Attachments) == 0:
		b.data = append(b.data, r.JSON...)
		return nil
	}
	from := 0
	err := placeholders(r.JSON, func(begin, end, num int) error {
		if num < 0 || num >= len(r.Attachments) {
			return syntax(ErrPlaceholder, "%d of %d", num, len(r.Attachments))
		}
		b.data = append(b.data, r.JSON[from:begin]...)
		b.attach(r.Attachments[num])
		from = end
		return nil
	})
	b.data = append(b.data, r.JSON[from:]...)
	return err
}

// text appends a JSON string. What is not UTF-8 is replaced, as encoding/json does.
func (b *builder) text(s string) {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, err := jsontext.AppendQuote(b.data, s)
			if err != nil { // s is not UTF-8; it was quoted nevertheless
				quoted, _ = jsontext.AppendQuote(b.data, string([]rune(s)))
			}
			b.data = quoted
			return
		}
	}
	b.data = append(append(append(b.data, '"'), s...), '"')
}

// AppendElement appends one more element to a JSON array.
func AppendElement(array []byte, element string) []byte {
	b := builder{data: append([]byte(nil), trimSpace(array)...)}
	if _, some := firstElement(b.data); some {
		b.data = append(b.data[:len(b.data)-1], ',')
	} else {
		b.data = b.data[:len(b.data)-1]
	}
	b.text(element)
	return append(b.data, ']')
}

// Base64 is p as the text clients expect where there is no binary.
func Base64(p []byte) string { return base64.StdEncoding.EncodeToString(p) }
