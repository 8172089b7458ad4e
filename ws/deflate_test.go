package ws_test

import (
	"strings"
	"testing"

	"github.com/chaussette/chaussette/ws"
)

func TestNegotiateDeflate(t *testing.T) {
	const plain = "permessage-deflate"
	tests := []struct {
		name   string
		config ws.Deflate
		offer  string
		want   string // empty: declined
	}{
		{"plain", ws.Deflate{}, plain, plain},
		{"as browsers do", ws.Deflate{}, plain + "; client_max_window_bits", plain},
		{"another extension", ws.Deflate{}, "x-webkit-deflate-frame", ""},
		{"second offer", ws.Deflate{}, "foo, " + plain, plain},
		{"server without takeover", ws.Deflate{}, plain + "; server_no_context_takeover", plain + "; server_no_context_takeover"},
		{"client without takeover", ws.Deflate{}, plain + "; client_no_context_takeover", plain + "; client_no_context_takeover"},
		{"we want neither", ws.Deflate{NoContextTakeover: true}, plain, plain + "; server_no_context_takeover; client_no_context_takeover"},
		{"server's window", ws.Deflate{}, plain + "; server_max_window_bits=10", plain + "; server_no_context_takeover; server_max_window_bits=10"},
		{"server's largest window", ws.Deflate{}, plain + "; server_max_window_bits=15", plain + "; server_max_window_bits=15"},
		{"quoted", ws.Deflate{}, plain + `; server_max_window_bits="10"`, plain + "; server_no_context_takeover; server_max_window_bits=10"},
		{"quoted comma", ws.Deflate{}, `foo; a="b, permessage-deflate", ` + plain + "; server_no_context_takeover", plain + "; server_no_context_takeover"},
		{"we want small windows", ws.Deflate{WindowBits: 9}, plain + "; client_max_window_bits", plain + "; client_max_window_bits=9"},
		{"small windows not offered", ws.Deflate{WindowBits: 9}, plain, plain},
		{"client's window", ws.Deflate{}, plain + "; client_max_window_bits=12", plain + "; client_max_window_bits=12"},
		{"client's window and ours", ws.Deflate{WindowBits: 10}, plain + "; client_max_window_bits=12", plain + "; client_max_window_bits=10"},
		{"window too small", ws.Deflate{}, plain + "; server_max_window_bits=7", ""},
		{"window too large", ws.Deflate{}, plain + "; server_max_window_bits=16", ""},
		{"leading zero", ws.Deflate{}, plain + "; server_max_window_bits=09", ""},
		{"no window", ws.Deflate{}, plain + "; server_max_window_bits", ""},
		{"value where none is", ws.Deflate{}, plain + "; server_no_context_takeover=1", ""},
		{"unknown parameter", ws.Deflate{}, plain + "; foo", ""},
		{"twice", ws.Deflate{}, plain + "; client_max_window_bits; client_max_window_bits", ""},
		{"fallback", ws.Deflate{}, plain + "; foo, " + plain, plain},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.config.Enabled = true
			p := ws.NegotiateDeflate(&test.config, []string{test.offer})
			got := ""
			if p != nil {
				got = p.String()
			}
			if got != test.want {
				t.Errorf("offered %q: answer %q, want %q", test.offer, got, test.want)
			}
		})
	}
}

func FuzzNegotiateDeflate(f *testing.F) {
	f.Add("permessage-deflate; server_max_window_bits=10; client_max_window_bits, permessage-deflate")
	f.Add(`permessage-deflate; server_max_window_bits="8";;,`)
	f.Fuzz(func(t *testing.T, offer string) {
		p := ws.NegotiateDeflate(&ws.Deflate{Enabled: true}, []string{offer})
		if p == nil {
			return
		}
		if s := p.String(); !strings.HasPrefix(s, "permessage-deflate") || p.ServerMaxWindowBits < 8 || p.ServerMaxWindowBits > 15 ||
			p.ClientMaxWindowBits < 8 || p.ClientMaxWindowBits > 15 {
			t.Errorf("offered %q: agreed on %+v", offer, p)
		}
	})
}
