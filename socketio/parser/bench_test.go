package parser_test

import (
	"testing"

	"github.com/chaussette/chaussette/socketio/parser"
)

func BenchmarkDecode(b *testing.B) {
	m := text(`217["echo","aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]`)
	d := parser.V5.NewDecoder(nil)
	var p parser.Packet
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(m, &p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMarshal(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := parser.Marshal("heard", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"); err != nil {
			b.Fatal(err)
		}
	}
}
